#include "shardreel/shard_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include "shardreel/units.h"
#include "shards/file_access.h"
#include "shards/member_name.h"
#include "shards/sha256.h"
#include "shards/tar_header.h"
#include "shards/unique_fd.h"

namespace shardreel {
namespace {

constexpr std::size_t kCopyBytes = std::size_t{1} << 20;

Error invalid(std::string message) {
  return Error{ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

/// Make what was renamed in the folder survive a power cut.
Result<void> sync_directory(const std::string& directory) {
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || fsync(fd.get()) != 0) {
    return system_error(fmt::format("syncing the folder '{}'", directory), errno);
  }
  return {};
}

/// The file of the shard that is being written, under its temporary name. Removed with the object
/// unless published.
class ShardFile {
 public:
  static Result<ShardFile> create(const std::string& directory, const std::string& name,
                                  const ShardWriterOptions& options) {
    const bool overwrite = options.overwrite;
    ShardFile file;
    if (options.sha256) file.digest_.emplace();
    file.path_ = directory + "/" + name;
    struct stat facts {};
    if (!overwrite && lstat(file.path_.c_str(), &facts) == 0) return in_the_way(file.path_);
    file.temporary_ = fmt::format("{}/.{}.partial-{}", directory, name, getpid());
    file.fd_.reset(open(file.temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (!file.fd_) return system_error(fmt::format("making '{}'", file.temporary_), errno);
    return file;
  }
  ShardFile(ShardFile&& other) noexcept
      : path_(std::move(other.path_)),
        temporary_(std::exchange(other.temporary_, {})),
        fd_(std::move(other.fd_)),
        size_(other.size_),
        digest_(std::move(other.digest_)) {}
  ShardFile& operator=(ShardFile&&) = delete;
  ~ShardFile() {
    if (!temporary_.empty()) unlink(temporary_.c_str());
  }

  Result<void> append(std::span<const std::byte> bytes) {
    auto written = write_at(fd_.get(), size_, bytes, fmt::format("'{}'", temporary_));
    if (!written) return written;
    size_ += bytes.size();
    if (digest_) digest_->update(bytes);
    return written;
  }

  Result<void> publish(const std::string& directory, bool overwrite) {
    if (fsync(fd_.get()) != 0) return system_error(fmt::format("syncing '{}'", temporary_), errno);
    int status = overwrite ? rename(temporary_.c_str(), path_.c_str())
                           : renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(),
                                       RENAME_NOREPLACE);
    if (status != 0 && !overwrite && (errno == EINVAL || errno == ENOSYS)) {
      // This file system cannot refuse in one step; `create` has looked already.
      status = rename(temporary_.c_str(), path_.c_str());
    }
    if (status != 0 && errno == EEXIST) return in_the_way(path_);
    if (status != 0) {
      return system_error(fmt::format("renaming '{}' to '{}'", temporary_, path_), errno);
    }
    temporary_.clear();
    return sync_directory(directory);
  }

  /// The digest of what was appended; empty unless asked for. Call once.
  Result<std::string> sha256() { return digest_ ? digest_->finish() : std::string(); }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

 private:
  ShardFile() = default;
  static Error in_the_way(const std::string& path) {
    return Error{ErrorCode::kIo,
                 fmt::format("writing the shard '{}': it is there already; expected a free name "
                             "(or overwrite)",
                             path),
                 {},
                 {},
                 {}};
  }

  std::string path_;
  std::string temporary_;
  UniqueFd fd_;
  std::uint64_t size_ = 0;
  std::optional<Sha256> digest_;
};

}  // namespace

struct ShardWriter::State {
  ShardWriterOptions options;
  std::optional<ShardFile> file;
  std::uint64_t samples = 0;  ///< in the current shard
  std::uint64_t payload = 0;  ///< bytes of content in the current shard
  std::optional<std::string> last_key;
  std::vector<WrittenShard> written;
  std::vector<std::byte> buffer = std::vector<std::byte>(kCopyBytes);
  bool finished = false;

  Result<void> begin_shard() {
    const std::string name =
        fmt::format("{}{:06}.tar", options.prefix, options.first_shard + written.size());
    auto created = ShardFile::create(options.directory, name, options);
    if (!created) return std::move(created.error());
    file.emplace(std::move(*created));
    samples = payload = 0;
    return {};
  }

  Result<void> end_shard() {
    // Two zero blocks, then up to a whole record, as tar does.
    const std::uint64_t end = file->size() + 2 * kTarBlockBytes;
    const std::uint64_t padded = (end + kTarRecordBytes - 1) / kTarRecordBytes * kTarRecordBytes;
    if (auto put = append_zeros(padded - file->size()); !put) return put;
    auto digest = file->sha256();
    if (!digest) return std::move(digest.error());
    if (auto out = file->publish(options.directory, options.overwrite); !out) return out;
    written.push_back({file->path(), samples, file->size(), std::move(*digest)});
    file.reset();
    return {};
  }

  /// Whether a sample of so many bytes goes into the shard that is being written.
  [[nodiscard]] bool has_room(std::uint64_t bytes) const {
    if (options.max_samples > 0 && samples >= options.max_samples) return false;
    if (options.max_bytes == 0 || samples == 0) return true;
    return payload < options.max_bytes && bytes <= options.max_bytes - payload;
  }

  Result<void> append_zeros(std::uint64_t count) {
    const std::vector<std::byte> zeros(static_cast<std::size_t>(count));
    return file->append(zeros);
  }

  Result<void> append_member(std::string_view key, const FieldToWrite& field) {
    const std::uint64_t size = field.content->size();
    std::string headers;
    append_tar_headers(fmt::format("{}.{}", key, field.name), size, headers);
    if (auto put = file->append(std::as_bytes(std::span(headers))); !put) return put;
    for (std::uint64_t done = 0; done < size;) {
      const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(size - done, kCopyBytes));
      auto got = field.content->read_at(done, std::span(buffer).first(want));
      if (!got) return std::move(got.error());
      if (*got == 0) {
        return Error{ErrorCode::kIo,
                     fmt::format("field {}: its content ended after {} of {} bytes (did the file "
                                 "shrink?)",
                                 field.name, done, size),
                     {},
                     {},
                     {}};
      }
      if (auto put = file->append(std::span(buffer).first(*got)); !put) return put;
      done += *got;
    }
    return append_zeros((kTarBlockBytes - size % kTarBlockBytes) % kTarBlockBytes);
  }

  /// Sort by name, and find everything that is wrong before a byte is written.
  Result<std::vector<const FieldToWrite*>> checked(std::string_view key,
                                                   std::span<const FieldToWrite> fields,
                                                   std::uint64_t& bytes) const {
    if (finished) return invalid("writing a sample after finish");
    if (fields.empty()) return invalid(fmt::format("key '{}' has no fields", key)).at({}, key);
    if (key == last_key) {
      return invalid(
                 fmt::format("key '{}' comes twice in a row; a reader would join the samples", key))
          .at({}, key);
    }
    std::vector<const FieldToWrite*> sorted;
    for (const FieldToWrite& field : fields) {
      if (auto good = check_member_name(key, field.name); !good) return std::move(good.error());
      if (field.content == nullptr) {
        return invalid(fmt::format("field {} has no content", field.name)).at({}, key);
      }
      const auto grown = checked_add(bytes, field.content->size());
      constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
      if (!grown || *grown > kMost) {
        return Error{ErrorCode::kTooLarge, "the sample does not fit a file", {}, {}, {}}.at({},
                                                                                            key);
      }
      bytes = *grown;
      sorted.push_back(&field);
    }
    std::sort(sorted.begin(), sorted.end(),
              [](const auto* a, const auto* b) { return a->name < b->name; });
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end(),
                                          [](auto* a, auto* b) { return a->name == b->name; });
    if (twice != sorted.end()) {
      return Error{ErrorCode::kDuplicateField,
                   fmt::format("field {} is given twice", (*twice)->name),
                   {},
                   {},
                   {}}
          .at({}, key);
    }
    return sorted;
  }

  Result<void> write(std::string_view key, std::span<const FieldToWrite> fields) {
    std::uint64_t bytes = 0;
    auto sorted = checked(key, fields, bytes);
    if (!sorted) return std::move(sorted.error());

    if (file && !has_room(bytes)) {
      if (auto ended = end_shard(); !ended) return ended;
    }
    if (!file) {
      if (auto begun = begin_shard(); !begun) return begun;
    }
    for (const FieldToWrite* field : *sorted) {
      auto put = append_member(key, *field);
      if (!put) {
        // Half a sample is in the file: it can only be thrown away.
        put.error().at(file->path(), key);
        file.reset();
        finished = true;
        return put;
      }
    }
    ++samples;
    payload += bytes;
    last_key = key;
    return {};
  }
};

ShardWriter::ShardWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
ShardWriter::ShardWriter(ShardWriter&&) noexcept = default;
ShardWriter& ShardWriter::operator=(ShardWriter&&) noexcept = default;
ShardWriter::~ShardWriter() = default;

Result<ShardWriter> ShardWriter::create(ShardWriterOptions options) {
  if (options.directory.empty()) return invalid("the folder for the shards is empty");
  if (options.prefix.find('/') != std::string::npos) {
    return invalid(
        fmt::format("the shard prefix '{}' holds a '/'; name the folder instead", options.prefix));
  }
  std::error_code failed;
  std::filesystem::create_directories(options.directory, failed);
  if (failed) {
    return system_error(fmt::format("making the folder '{}'", options.directory), failed.value());
  }
  auto state = std::make_unique<State>();
  state->options = std::move(options);
  return ShardWriter(std::move(state));
}

Result<void> ShardWriter::write(std::string_view key, std::span<const FieldToWrite> fields) {
  return state_->write(key, fields);
}

bool ShardWriter::fits(std::span<const FieldToWrite> fields) const noexcept {
  if (!state_->file) return true;
  std::uint64_t bytes = 0;
  for (const FieldToWrite& field : fields) {
    const auto grown = checked_add(bytes, field.content == nullptr ? 0 : field.content->size());
    if (!grown) return false;
    bytes = *grown;
  }
  return state_->has_room(bytes);
}

Result<void> ShardWriter::end_shard() {
  if (!state_->file) return {};
  auto ended = state_->end_shard();
  if (!ended) {
    state_->file.reset();
    state_->finished = true;
  }
  return ended;
}

const std::vector<WrittenShard>& ShardWriter::written() const noexcept { return state_->written; }

Result<std::vector<WrittenShard>> ShardWriter::finish() {
  if (auto ended = end_shard(); !ended) return std::move(ended.error());
  state_->finished = true;
  return std::move(state_->written);
}

}  // namespace shardreel
