#include "loader/read/http/shard_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "shards/file_access.h"
#include "shards/unique_fd.h"

namespace shardreel {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kEntry = ".shard";
constexpr std::string_view kPart = ".part";
constexpr std::size_t kBlock = std::size_t{1} << 20;
constexpr std::array<char, 8> kMagic{'S', 'R', 'C', 'A', 'C', 'H', 'E', '1'};

/// The fixed end of an entry; before it lie name, ETag and date, whose lengths it gives.
struct Trailer {
  std::uint64_t content_bytes = 0;
  std::uint64_t checksum = 0;  ///< XXH64 of the content, then of the texts
  std::uint32_t name_bytes = 0, etag_bytes = 0, date_bytes = 0, zero = 0;
  std::array<char, 8> magic = kMagic;
};
static_assert(sizeof(Trailer) == 40);

class Checksum {
 public:
  Checksum() : state_(XXH64_createState()) { XXH64_reset(state_, 0); }
  Checksum(const Checksum&) = delete;
  Checksum& operator=(const Checksum&) = delete;
  ~Checksum() { XXH64_freeState(state_); }
  void add(const void* data, std::size_t bytes) { XXH64_update(state_, data, bytes); }
  [[nodiscard]] std::uint64_t value() const { return XXH64_digest(state_); }

 private:
  XXH64_state_t* state_;
};

std::uint64_t size_of(int fd) {
  struct stat facts {};
  return fstat(fd, &facts) == 0 ? static_cast<std::uint64_t>(facts.st_size) : 0;
}

/// Whether the open file still has this name.
bool is_at(int fd, const std::string& path) {
  struct stat open_one {};
  struct stat named {};
  return fstat(fd, &open_one) == 0 && stat(path.c_str(), &named) == 0 &&
         open_one.st_ino == named.st_ino && open_one.st_dev == named.st_dev;
}

bool read_exactly(int fd, std::uint64_t offset, void* into, std::size_t bytes) {
  auto* out = static_cast<char*>(into);
  while (bytes > 0) {
    const ssize_t got = pread(fd, out, bytes, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    out += got;
    offset += static_cast<std::uint64_t>(got);
    bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

/// Reads an entry's content in order, and by offset.
class EntryStream final : public ByteStream {
 public:
  explicit EntryStream(std::shared_ptr<const RandomAccess> content)
      : content_(std::move(content)) {}
  Result<std::size_t> read(std::span<std::byte> into) override {
    auto got = content_->read_at(position_, into);
    if (got) position_ += *got;
    return got;
  }
  bool go_to(std::uint64_t offset) override {
    position_ = offset;
    return true;
  }
  [[nodiscard]] std::shared_ptr<const RandomAccess> random_access() const override {
    return content_;
  }

 private:
  std::shared_ptr<const RandomAccess> content_;  // shared with large members
  std::uint64_t position_ = 0;
};

std::unique_ptr<ByteStream> entry_stream(UniqueFd fd, std::uint64_t bytes, std::string path) {
  const std::uint64_t size = size_of(fd.get());
  auto file = file_range(std::move(fd), size, fmt::format("'{}'", path));
  return std::make_unique<EntryStream>(slice(std::move(file), 0, bytes));  // not the trailer
}

enum class Check { kGood, kBad, kStopped };

/// Read an entry whole and compare with what its trailer says and what is expected of it.
Check check_entry(int fd, const std::string& name, const ObjectIdentity* version,
                  std::uint64_t& content_bytes, const std::stop_token& stop) {
  const std::uint64_t size = size_of(fd);
  Trailer trailer;
  if (size < sizeof trailer || !read_exactly(fd, size - sizeof trailer, &trailer, sizeof trailer) ||
      trailer.magic != kMagic) {
    return Check::kBad;
  }
  const std::uint64_t texts =
      std::uint64_t{trailer.name_bytes} + trailer.etag_bytes + trailer.date_bytes;
  if (texts > (1U << 20) || size != trailer.content_bytes + texts + sizeof trailer) {
    return Check::kBad;
  }
  std::string text(texts, '\0');
  if (!read_exactly(fd, trailer.content_bytes, text.data(), text.size())) return Check::kBad;
  const std::string etag = text.substr(trailer.name_bytes, trailer.etag_bytes);
  const std::string date = text.substr(trailer.name_bytes + trailer.etag_bytes);
  if (text.substr(0, trailer.name_bytes) != name) return Check::kBad;
  if (version != nullptr && (version->size != trailer.content_bytes || version->etag != etag ||
                             (etag.empty() && version->last_modified != date))) {
    return Check::kBad;
  }
  Checksum sum;
  std::vector<char> block(kBlock);
  for (std::uint64_t at = 0; at < trailer.content_bytes;) {
    if (stop.stop_requested()) return Check::kStopped;
    const auto part =
        static_cast<std::size_t>(std::min<std::uint64_t>(kBlock, trailer.content_bytes - at));
    if (!read_exactly(fd, at, block.data(), part)) return Check::kBad;
    sum.add(block.data(), part);
    at += part;
  }
  sum.add(text.data(), text.size());
  content_bytes = trailer.content_bytes;
  return sum.value() == trailer.checksum ? Check::kGood : Check::kBad;
}

/// Write all of `from` and the trailer. `disk` tells whose failure it is.
Result<void> write_entry(int fd, const std::string& path, const std::string& name,
                         const ObjectIdentity& version, ByteStream& from, bool& disk) {
  Checksum sum;
  std::vector<std::byte> block(kBlock);
  std::uint64_t at = 0;
  const std::string label = fmt::format("'{}'", path);
  disk = false;
  while (true) {
    auto got = from.read(block);
    if (!got) return std::move(got.error());
    if (*got == 0) break;
    const auto bytes = std::span<const std::byte>(block).first(*got);
    sum.add(bytes.data(), bytes.size());
    if (auto written = write_at(fd, at, bytes, label); !written) {
      disk = true;
      return written;
    }
    at += *got;
  }
  if (at != version.size) {
    return Error{ErrorCode::kTruncated,
                 fmt::format("{} bytes came; expected {}", at, version.size),
                 {},
                 {},
                 at};
  }
  const std::string texts = name + version.etag + version.last_modified;
  sum.add(texts.data(), texts.size());
  Trailer trailer;
  trailer.content_bytes = at;
  trailer.checksum = sum.value();
  trailer.name_bytes = static_cast<std::uint32_t>(name.size());
  trailer.etag_bytes = static_cast<std::uint32_t>(version.etag.size());
  trailer.date_bytes = static_cast<std::uint32_t>(version.last_modified.size());
  disk = true;
  if (auto written = write_at(fd, at, std::as_bytes(std::span(texts)), label); !written) {
    return written;
  }
  return write_at(fd, at + texts.size(), std::as_bytes(std::span(&trailer, 1)), label);
}

}  // namespace

Result<std::unique_ptr<ShardCache>> ShardCache::open(std::string folder, std::uint64_t most_bytes) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed || access(folder.c_str(), W_OK | X_OK) != 0) {
    return system_error(fmt::format("cache_dir '{}'", folder), failed ? failed.value() : errno);
  }
  std::unique_ptr<ShardCache> cache(new ShardCache(std::move(folder), most_bytes));
  cache->remove_abandoned();
  return cache;
}

std::string ShardCache::path_of(const std::string& name, std::string_view ending) const {
  const XXH128_hash_t hash = XXH3_128bits(name.data(), name.size());
  return fmt::format("{}/{:016x}{:016x}{}", folder_, hash.high64, hash.low64, ending);
}

/// Parts that nobody has locked are what killed processes left.
void ShardCache::remove_abandoned() const {
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(folder_, ignored)) {
    const std::string path = file.path().string();
    if (!path.ends_with(kPart)) continue;
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (fd && flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && is_at(fd.get(), path)) {
      unlink(path.c_str());
    }
  }
}

/// False when others' downloads leave no room even without any entry.
bool ShardCache::make_room(std::uint64_t bytes) {
  if (most_bytes_ == 0) return true;
  remove_abandoned();
  struct Entry {
    fs::file_time_type used;
    std::uint64_t bytes;
    std::string path;
  };
  std::vector<Entry> entries;
  std::uint64_t total = bytes;
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(folder_, ignored)) {
    const std::string path = file.path().string();
    const bool entry = path.ends_with(kEntry);
    if (!entry && !path.ends_with(kPart)) continue;  // not ours
    std::error_code gone;
    const std::uint64_t size = file.file_size(gone);
    const auto used = file.last_write_time(gone);
    if (gone) continue;
    total += size;
    if (entry) entries.push_back({used, size, path});
  }
  std::ranges::sort(entries, {}, &Entry::used);
  for (const Entry& entry : entries) {
    if (total <= most_bytes_) break;
    if (unlink(entry.path.c_str()) == 0) counters_.evicted += entry.bytes;
    total -= entry.bytes;
  }
  return total <= most_bytes_;
}

/// Give the part its whole room at once: the bound counts it, and a full disk is known before the
/// download. False: the bound does not allow it now.
Result<bool> ShardCache::claim_room(int fd, const std::string& part, std::uint64_t bytes) {
  // Of two processes that count at one time, both would find the same room: one after the other.
  const UniqueFd folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return system_error("opening '" + folder_ + "'", errno);
  while (flock(folder.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return system_error("locking '" + folder_ + "'", errno);
  }
  if (ftruncate(fd, 0) != 0) return system_error("emptying '" + part + "'", errno);
  if (!make_room(bytes)) return false;
  const int full = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
  if (full != 0) return system_error("making room for '" + part + "'", full);
  return true;
}

std::optional<std::unique_ptr<ByteStream>> ShardCache::find(const std::string& name,
                                                            const ObjectIdentity* version,
                                                            const std::stop_token& stop) {
  const std::string path = path_of(name, kEntry);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd) {
    std::uint64_t bytes = 0;
    const Check check = check_entry(fd.get(), name, version, bytes, stop);
    if (check == Check::kGood) {
      ++counters_.hits;
      futimens(fd.get(), nullptr);  // used now; where that is not allowed, age decides
      return entry_stream(std::move(fd), bytes, path);
    }
    // Another process may have put a good one in its place meanwhile.
    if (check == Check::kBad && is_at(fd.get(), path)) unlink(path.c_str());
  }
  ++counters_.misses;
  return std::nullopt;
}

std::variant<ShardCache::Stored, ShardCache::Failure> ShardCache::store(
    const std::string& name, const ObjectIdentity& version, ByteStream& from,
    const std::stop_token& stop) {
  const std::uint64_t whole = version.size + sizeof(Trailer) + name.size() + version.etag.size() +
                              version.last_modified.size();
  if (most_bytes_ != 0 && whole > most_bytes_) return Stored{};
  const std::string part = path_of(name, kPart);
  const std::string entry = path_of(name, kEntry);
  UniqueFd fd;
  while (true) {
    fd.reset(::open(part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
    if (!fd) return Failure{system_error("making '" + part + "'", errno), true};
    if (flock(fd.get(), LOCK_EX | LOCK_NB) == 0) {
      if (is_at(fd.get(), part)) break;
      continue;  // it became the entry, or was removed, while we waited
    }
    if (stop.stop_requested()) {
      return Failure{{ErrorCode::kStopped, "stopped while waiting for the cache", {}, {}, {}},
                     false};
    }
    // A lock of another process gives no signal: look again.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (UniqueFd made(::open(entry.c_str(), O_RDONLY | O_CLOEXEC)); made) {
    std::uint64_t bytes = 0;
    if (check_entry(made.get(), name, &version, bytes, stop) == Check::kGood) {
      unlink(part.c_str());
      return Stored{entry_stream(std::move(made), bytes, entry)};
    }
  }
  const auto give_up = [&](Error error, bool disk) {
    unlink(part.c_str());
    return Failure{std::move(error), disk};
  };
  auto room = claim_room(fd.get(), part, whole);
  if (!room) return give_up(std::move(room.error()), true);
  if (!*room) {
    unlink(part.c_str());
    return Stored{};
  }
  bool disk = false;
  auto written = write_entry(fd.get(), part, name, version, from, disk);
  if (!written) return give_up(std::move(written.error()), disk);
  if (rename(part.c_str(), entry.c_str()) != 0) {
    return give_up(system_error("renaming '" + part + "'", errno), true);
  }
  counters_.stored += version.size;
  return Stored{entry_stream(std::move(fd), version.size, entry)};
}

}  // namespace shardreel
