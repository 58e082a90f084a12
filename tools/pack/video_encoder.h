#pragma once
// The encoders, set up for training: closed groups of equal length, one thread, same bytes always.

#include <cstdint>

#include "loader/media/av_handles.h"
#include "shardreel/error.h"
#include "tools/pack/picture_shape.h"
#include "tools/pack/transcode_spec.h"

namespace shardreel::tools {

/// Takes frames by number (0, 1, ...); gives packets whose pts and dts are such numbers: the
/// encoder sees an even pace, so that no gap or jitter in the source's times moves a keyframe or
/// the quality. Not thread-safe.
class VideoEncoder {
 public:
  /// Errors: kUnsupported when this FFmpeg lacks the encoder or it refuses.
  static Result<VideoEncoder> open(const TranscodeSpec& spec, const PictureShape& shape,
                                   double fps);

  /// Encode the next frame, whose times and types are overwritten; null ends the video.
  Result<void> send(AVFrame* frame);
  /// Take a packet out; false when it needs more frames first, or has given all.
  Result<bool> receive(AVPacket& packet);

  [[nodiscard]] const AVCodecContext& context() const noexcept { return *context_; }

 private:
  explicit VideoEncoder(AVCodecContextPtr context) : context_(std::move(context)) {}
  AVCodecContextPtr context_;
  std::int64_t sent_ = 0;
};

}  // namespace shardreel::tools
