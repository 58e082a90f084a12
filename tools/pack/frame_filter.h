#pragma once
// Frames through a libavfilter graph of one input and one output.

#include <cstdint>
#include <memory>
#include <string>

#include "loader/media/av_handles.h"
#include "shardreel/error.h"

struct AVFilterGraph;
struct AVFilterContext;

namespace shardreel::tools {

/// Runs on the calling thread. Not thread-safe.
class FrameFilter {
 public:
  /// Make a graph ("scale=320:240,format=yuv420p") for frames like `like`.
  static Result<FrameFilter> open(const std::string& description, const AVFrame& like,
                                  AVRational time_base);
  FrameFilter(FrameFilter&&) noexcept;
  FrameFilter& operator=(FrameFilter&&) noexcept;
  ~FrameFilter();

  /// Give it a frame, whose reference is taken; null says that there are no more.
  Result<void> push(AVFrame* frame);
  /// Take a frame out; false when it needs more first, or has given all.
  Result<bool> pull(AVFrame& frame);
  /// Of the frames it gives.
  [[nodiscard]] AVRational time_base() const noexcept;
  /// Whether a frame fits the graph (size and pixel format).
  [[nodiscard]] bool takes(const AVFrame& frame) const noexcept;

 private:
  struct State;
  explicit FrameFilter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace shardreel::tools
