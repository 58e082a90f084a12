#include "tools/pack/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <span>
#include <tuple>

#include "shards/file_access.h"

namespace shardreel::tools {
namespace {

constexpr std::size_t kSumDigits = 16;

std::string sum_of(std::string_view line) {
  return fmt::format("{:016x}", XXH64(line.data(), line.size(), 0));
}

/// Take the file for this process alone; false when it vanished in between.
Result<bool> lock(const UniqueFd& fd, const std::string& path) {
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return Error{ErrorCode::kNotPermitted,
                   fmt::format("another pack is running on '{}'", path),
                   {},
                   {},
                   {}};
    }
    return system_error(fmt::format("locking '{}'", path), errno);
  }
  // Whoever had it may have deleted it: then this is a file without a name.
  struct stat held {
  }, named{};
  if (fstat(fd.get(), &held) != 0) return system_error(fmt::format("reading '{}'", path), errno);
  return stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
         held.st_dev == named.st_dev;
}

/// The lines before the first one that is damaged, and how many bytes they take.
std::pair<std::vector<std::string>, std::uint64_t> good_lines(std::string_view text) {
  std::vector<std::string> lines;
  std::uint64_t good = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = text.find('\n', begin);
    if (end == std::string_view::npos) break;
    const std::string_view line = text.substr(begin, end - begin);
    if (line.size() <= kSumDigits || line[kSumDigits] != ' ') break;
    const std::string_view content = line.substr(kSumDigits + 1);
    if (line.substr(0, kSumDigits) != sum_of(content)) break;
    lines.emplace_back(content);
    good = begin = end + 1;
  }
  return {std::move(lines), good};
}

Result<std::string> read_all(const UniqueFd& fd, const std::string& path) {
  std::string text;
  for (;;) {
    constexpr std::size_t kBlock = std::size_t{1} << 16;
    const std::size_t had = text.size();
    text.resize(had + kBlock);
    const ssize_t got = pread(fd.get(), text.data() + had, kBlock, static_cast<off_t>(had));
    if (got < 0 && errno != EINTR) return system_error(fmt::format("reading '{}'", path), errno);
    text.resize(had + (got > 0 ? static_cast<std::size_t>(got) : 0));
    if (got == 0) return text;
  }
}

}  // namespace

Result<Journal> Journal::open(const std::string& path) {
  for (;;) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
    if (!fd) return system_error(fmt::format("making '{}'", path), errno);
    const auto locked = lock(fd, path);
    if (!locked) return locked.error();
    if (!*locked) continue;
    auto text = read_all(fd, path);
    if (!text) return std::move(text.error());
    Journal journal(std::move(fd), path);
    std::tie(journal.lines_, journal.size_) = good_lines(*text);
    if (journal.size_ < text->size() &&
        ftruncate(journal.fd_.get(), static_cast<off_t>(journal.size_)) != 0) {
      return system_error(fmt::format("cutting '{}'", path), errno);
    }
    return journal;
  }
}

Result<std::vector<std::string>> Journal::read(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return system_error(fmt::format("opening '{}'", path), errno);
  const auto locked = lock(fd, path);
  if (!locked) return locked.error();
  const auto text = read_all(fd, path);
  if (!text) return text.error();
  return good_lines(*text).first;
}

Result<void> Journal::append(std::string_view line, bool durable) {
  const std::string text = fmt::format("{} {}\n", sum_of(line), line);
  auto written =
      write_at(fd_.get(), size_, std::as_bytes(std::span(text)), fmt::format("'{}'", path_));
  if (!written) return written;
  size_ += text.size();
  if (durable && fdatasync(fd_.get()) != 0) {
    return system_error(fmt::format("syncing '{}'", path_), errno);
  }
  return {};
}

Result<void> Journal::clear() {
  if (ftruncate(fd_.get(), 0) != 0 || fdatasync(fd_.get()) != 0) {
    return system_error(fmt::format("clearing '{}'", path_), errno);
  }
  size_ = 0;
  lines_.clear();
  return {};
}

Result<void> Journal::remove() {
  if (unlink(path_.c_str()) != 0) return system_error(fmt::format("removing '{}'", path_), errno);
  fd_.reset();
  return {};
}

}  // namespace shardreel::tools
