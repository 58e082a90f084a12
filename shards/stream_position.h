#pragma once
// A stream with a position that moves forward only.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "shardreel/byte_source.h"

namespace shardreel {

/// Holds one block of the stream. A plain file is sought, not read, where bytes are passed over.
/// Not thread-safe.
class StreamPosition {
 public:
  explicit StreamPosition(std::unique_ptr<ByteStream> stream);

  [[nodiscard]] std::int64_t tell() const noexcept { return position_; }
  /// Fill `into`; fewer only at the end of the stream.
  Result<std::size_t> read(std::span<std::byte> into);
  /// Move to `offset` or to the end of the stream, whichever comes first; backward is an error.
  Result<void> seek(std::int64_t offset);
  /// Move to `offset` > 0; an error where the stream ends before.
  Result<void> advance_to(std::int64_t offset);
  /// The stream by offset, where it is a plain file; else null.
  [[nodiscard]] const std::shared_ptr<const RandomAccess>& file() const noexcept { return file_; }

 private:
  Result<std::size_t> fill();

  std::unique_ptr<ByteStream> stream_;
  std::shared_ptr<const RandomAccess> file_;  // shared with the ranges that are handed out
  std::vector<std::byte> block_;
  std::size_t used_ = 0, filled_ = 0;
  std::int64_t position_ = 0;
};

}  // namespace shardreel
