#pragma once
// The notes of a run of `pack` in its folder, from which it goes on after it was killed.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardreel/error.h"
#include "shards/unique_fd.h"

namespace shardreel::tools {

/// A file of lines. Each carries its checksum, so that a line that was being written when the
/// machine stopped counts for nothing. While it is open no other process can open it. Not
/// thread-safe.
class Journal {
 public:
  /// Open the file at `path`, or begin it, and read its good lines; what follows them is cut off.
  /// kNotPermitted when another process has it open.
  static Result<Journal> open(const std::string& path);

  /// Read the good lines of a file that no process writes: kNotPermitted when one does.
  static Result<std::vector<std::string>> read(const std::string& path);

  /// The lines that were there when it was opened.
  [[nodiscard]] const std::vector<std::string>& lines() const noexcept { return lines_; }

  /// Write one line without line ends in it. With `durable` it is on disk when this returns.
  Result<void> append(std::string_view line, bool durable);

  /// Forget all lines, on disk as well.
  Result<void> clear();

  [[nodiscard]] const std::string& path() const noexcept { return path_; }

  /// Delete the file; nothing can be written afterwards.
  Result<void> remove();

 private:
  Journal(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  UniqueFd fd_;
  std::string path_;
  std::uint64_t size_ = 0;
  std::vector<std::string> lines_;
};

}  // namespace shardreel::tools
