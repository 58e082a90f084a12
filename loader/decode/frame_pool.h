#pragma once
// Memory for a decoder's frames: slabs of our own that are counted, kept for the next unit, and
// given back on request.

#include <cstdint>
#include <memory>

#include "loader/media/av_handles.h"

namespace shardreel {

/// Gives a decoder the memory of its frames (AVCodecContext::get_buffer2). Blocks are mapped from
/// the kernel and reused, because faulting fresh pages in costs 15 to 25 % of decoding. What frames
/// hold stays valid after the pool is gone. Not thread-safe: one per decoder, one thread.
class FramePool {
 public:
  FramePool();
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;
  ~FramePool();

  /// Let this context take its frames from here. The context must not outlive the pool.
  void serve(AVCodecContext& context) noexcept;

  /// Bytes that frames hold now.
  [[nodiscard]] std::uint64_t used_bytes() const noexcept;
  /// The most that they held since `reset_peak`.
  [[nodiscard]] std::uint64_t peak_bytes() const noexcept;
  /// Bytes that are kept for later frames.
  [[nodiscard]] std::uint64_t idle_bytes() const noexcept;
  void reset_peak() noexcept;
  /// Give idle blocks back until at most `most_idle_bytes` are kept.
  void trim(std::uint64_t most_idle_bytes) noexcept;

 private:
  struct State;
  static int get_buffer(AVCodecContext* context, AVFrame* frame, int flags) noexcept;
  std::shared_ptr<State> state_;  // shared with every block that a frame holds
};

}  // namespace shardreel
