#pragma once
// FFmpeg's input over a RandomAccess.

#include <memory>
#include <optional>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"

struct AVIOContext;

namespace shardreel {

/// Owns an AVIOContext, its buffer and its position in `source`. Callbacks never throw; the first
/// error of the source is kept, because FFmpeg passes on only a number. Must outlive the format
/// context that reads from it. Not thread-safe; many may share one source.
class AvIo {
 public:
  /// Return a reader at the source's first byte, or kMemory.
  static Result<AvIo> make(std::shared_ptr<const RandomAccess> source);
  AvIo(AvIo&&) noexcept;
  AvIo& operator=(AvIo&&) noexcept;
  ~AvIo();

  [[nodiscard]] AVIOContext* context() const noexcept;
  /// Return the error that the source reported first, if any.
  [[nodiscard]] const std::optional<Error>& error() const noexcept;

 private:
  struct State;
  explicit AvIo(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
