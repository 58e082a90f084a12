#pragma once
// Files as byte sources: ranges of an open file, and the unlinked file that a large member of a
// stream is spooled to.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "shardreel/byte_source.h"
#include "shards/unique_fd.h"

namespace shardreel {

/// Return "WHAT: the system's words for errno" as an error of the matching code.
Error system_error(std::string what, int error_number);

/// The error of a source that has `got` bytes at `offset` where `expected` should be.
Error ends_early(std::uint64_t offset, std::size_t got, std::size_t expected);

/// Write all of `bytes` at `offset`.
Result<void> write_at(int fd, std::uint64_t offset, std::span<const std::byte> bytes,
                      const std::string& name);

/// Bytes of an open regular file; `name` is for messages. Reads with pread, so any number of
/// threads may read at once.
std::shared_ptr<const RandomAccess> file_range(UniqueFd fd, std::uint64_t size, std::string name);

/// Open a file without a name for reading and writing in `directory` (empty = $TMPDIR, else /tmp).
Result<UniqueFd> open_unlinked(std::string directory);

/// A file without a name: gone when its last user is. Takes bytes at any offset up to `size`, then
/// becomes a source. What was not written reads as zeros and takes no room.
class SpoolFile {
 public:
  /// `directory` empty = $TMPDIR, else /tmp.
  static Result<SpoolFile> create(std::string directory, std::uint64_t size);
  Result<void> write(std::uint64_t offset, std::span<const std::byte> bytes);
  std::shared_ptr<const RandomAccess> finish() &&;

 private:
  SpoolFile(UniqueFd fd, std::uint64_t size, std::string name)
      : fd_(std::move(fd)), size_(size), name_(std::move(name)) {}
  UniqueFd fd_;
  std::uint64_t size_;
  std::string name_;
};

}  // namespace shardreel
