#include "shards/file_access.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <optional>
#include <system_error>

namespace shardreel {
namespace {

// The kernel takes at most 0x7ffff000 bytes a call; ask for less, and loop.
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;

class FileRange final : public RandomAccess {
 public:
  FileRange(UniqueFd fd, std::uint64_t size, std::string name, FileCache cache = FileCache::kKeep)
      : fd_(std::move(fd)), size_(size), name_(std::move(name)), cache_(cache) {}
  FileRange(const FileRange&) = delete;
  FileRange& operator=(const FileRange&) = delete;
  ~FileRange() override {
    if (cache_ == FileCache::kDrop) posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
  }

  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    std::size_t done = 0;
    while (done < into.size() && offset + done < size_) {
      const std::size_t want =
          static_cast<std::size_t>(std::min<std::uint64_t>(into.size() - done, kMaxTransfer));
      const ssize_t got =
          pread(fd_.get(), into.data() + done, want, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return system_error("reading " + name_, errno).at({}, {}, offset + done);
      if (got == 0) break;  // the file shrank
      done += static_cast<std::size_t>(got);
    }
    return done;
  }

 private:
  UniqueFd fd_;
  std::uint64_t size_;
  std::string name_;
  FileCache cache_;
};

/// Reads in order from the same descriptor that its ranges use: the position is its own.
class FileStream final : public ByteStream {
 public:
  explicit FileStream(std::shared_ptr<const RandomAccess> file) : file_(std::move(file)) {}

  Result<std::size_t> read(std::span<std::byte> into) override {
    auto got = file_->read_at(position_, into);
    if (got) position_ += *got;
    return got;
  }
  bool go_to(std::uint64_t offset) override {
    position_ = offset;
    return true;
  }
  [[nodiscard]] std::shared_ptr<const RandomAccess> random_access() const override { return file_; }

 private:
  std::shared_ptr<const RandomAccess> file_;  // shared with the ranges that are handed out
  std::uint64_t position_ = 0;
};

class MemorySource final : public RandomAccess {
 public:
  explicit MemorySource(std::shared_ptr<const OwnedBytes> bytes) : bytes_(std::move(bytes)) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return bytes_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    const auto all = bytes_->span();
    if (offset >= all.size()) return std::size_t{0};
    const auto from = all.subspan(static_cast<std::size_t>(offset));
    const std::size_t count = std::min(from.size(), into.size());
    std::copy_n(from.begin(), count, into.begin());
    return count;
  }

 private:
  std::shared_ptr<const OwnedBytes> bytes_;
};

class Slice final : public RandomAccess {
 public:
  Slice(std::shared_ptr<const RandomAccess> of, std::uint64_t offset, std::uint64_t size)
      : of_(std::move(of)), offset_(offset), size_(size) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= size_) return std::size_t{0};
    const std::uint64_t left = size_ - offset;
    if (into.size() > left) into = into.first(static_cast<std::size_t>(left));
    return of_->read_at(offset_ + offset, into);
  }

 private:
  std::shared_ptr<const RandomAccess> of_;
  std::uint64_t offset_;
  std::uint64_t size_;
};

std::string_view kind_of_file(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISCHR(mode)) return "a character device";
  if (S_ISBLK(mode)) return "a block device";
  if (S_ISFIFO(mode)) return "a named pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a special file";
}

}  // namespace

Error ends_early(std::uint64_t offset, std::size_t got, std::size_t expected) {
  return Error{ErrorCode::kIo,
               fmt::format("{} bytes at byte {} instead of {} (did the file shrink?)", got, offset,
                           expected),
               {},
               {},
               offset};
}

Result<void> RandomAccess::read_pieces(std::span<const ReadPiece> pieces) const {
  for (const ReadPiece& piece : pieces) {
    auto got = read_at(piece.offset, piece.into);
    if (!got) return std::move(got.error());
    if (*got != piece.into.size()) return ends_early(piece.offset, *got, piece.into.size());
  }
  return {};
}

Error system_error(std::string what, int error_number) {
  const bool missing = error_number == ENOENT || error_number == ENOTDIR;
  return Error{missing ? ErrorCode::kNotFound : ErrorCode::kIo,
               what + ": " + std::generic_category().message(error_number),
               {},
               {},
               {}};
}

Result<void> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes,
                      const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t put =
        pwrite(fd, bytes.data(), std::min(bytes.size(), kMaxTransfer), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return system_error("writing " + name, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
  return {};
}

std::shared_ptr<const RandomAccess> file_range(UniqueFd fd, std::uint64_t size, std::string name) {
  return std::make_shared<FileRange>(std::move(fd), size, std::move(name));
}

Result<std::unique_ptr<ByteStream>> open_file(const std::string& path, FileCache cache) {
  if (path.empty()) {
    return Error{ErrorCode::kNotFound, "opening a file: its path is empty", {}, {}, {}};
  }
  // Without O_NONBLOCK the open of a named pipe would wait for a writer before we can refuse it.
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return system_error(fmt::format("opening '{}'", path), errno);
  struct stat facts {};
  if (fstat(fd.get(), &facts) != 0)
    return system_error(fmt::format("asking about '{}'", path), errno);
  if (!S_ISREG(facts.st_mode)) {
    return Error{ErrorCode::kIo,
                 fmt::format("opening '{}': it is {}; expected a regular file", path,
                             kind_of_file(facts.st_mode)),
                 {},
                 {},
                 {}};
  }
  posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL);  // advice only
  auto file = std::make_shared<FileRange>(std::move(fd), static_cast<std::uint64_t>(facts.st_size),
                                          fmt::format("'{}'", path), cache);
  return std::unique_ptr<ByteStream>(std::make_unique<FileStream>(std::move(file)));
}

std::shared_ptr<const RandomAccess> memory_source(std::shared_ptr<const OwnedBytes> bytes) {
  return std::make_shared<MemorySource>(std::move(bytes));
}

std::shared_ptr<const RandomAccess> slice(std::shared_ptr<const RandomAccess> of,
                                          std::uint64_t offset, std::uint64_t size) {
  if (auto own = of->part(offset, size)) return own;
  return std::make_shared<Slice>(std::move(of), offset, size);
}

Result<UniqueFd> open_unlinked(std::string directory) {
  if (directory.empty()) {
    const char* given = std::getenv("TMPDIR");
    directory = given != nullptr && *given != '\0' ? given : "/tmp";
  }
  UniqueFd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd) {  // not every file system has O_TMPFILE
    std::string pattern = directory + "/shardreel-spool-XXXXXX";
    fd.reset(mkostemp(pattern.data(), O_CLOEXEC));
    if (!fd) return system_error(fmt::format("making a spool file in '{}'", directory), errno);
    unlink(pattern.c_str());
  }
  return fd;
}

Result<SpoolFile> SpoolFile::create(std::string directory, std::uint64_t size) {
  const std::string name =
      fmt::format("a spool file in '{}'", directory.empty() ? "$TMPDIR" : directory);
  auto opened = open_unlinked(std::move(directory));
  if (!opened) return std::move(opened.error());
  UniqueFd fd = std::move(*opened);
  if (size > static_cast<std::uint64_t>(std::numeric_limits<off_t>::max()) ||
      ftruncate(fd.get(), static_cast<off_t>(size)) != 0) {
    return system_error(fmt::format("making {} of {} bytes", name, size), errno);
  }
  return SpoolFile(std::move(fd), size, name);
}

Result<void> SpoolFile::write(std::uint64_t offset, std::span<const std::byte> bytes) {
  return write_at(fd_.get(), offset, bytes, name_);
}

std::shared_ptr<const RandomAccess> SpoolFile::finish() && {
  return file_range(std::move(fd_), size_, std::move(name_));
}

}  // namespace shardreel
