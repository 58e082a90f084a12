#pragma once
// All frames of a source, in the order they are shown, or an error.

#include <cstdint>
#include <memory>
#include <string>

#include "loader/demux/demuxer.h"
#include "loader/media/av_handles.h"
#include "tools/pack/source_scan.h"

namespace shardreel::tools {

/// Decodes on the calling thread. Not thread-safe.
class SourceFrames {
 public:
  /// `scan` must outlive the result.
  static Result<SourceFrames> open(std::shared_ptr<const RandomAccess> source,
                                   const std::string& field, const SourceScan& scan);

  /// Decode the next frame into `frame`; false at the end. Its pts is its time in `stream()`'s
  /// time_base: ascending, also where the source's times are missing or not. Errors: kDecodeError
  /// for any damage, and for fewer or more frames than the packets promise.
  Result<bool> next(AVFrame& frame);

  [[nodiscard]] const AVStream& stream() const noexcept { return demuxer_->stream(); }
  [[nodiscard]] const AVInputFormat* container() const noexcept {
    return demuxer_->format().iformat;
  }

 private:
  SourceFrames() = default;
  Result<void> feed();
  Error damaged(const char* what, int status) const;
  void settle_time(AVFrame& frame);

  std::unique_ptr<Demuxer> demuxer_;
  AVCodecContextPtr decoder_;
  AVPacketPtr packet_;
  const SourceScan* scan_ = nullptr;
  std::size_t fed_ = 0;    ///< packets read
  std::size_t first_ = 0;  ///< packets before it show nothing and are not decoded
  std::int64_t frames_ = 0;
  std::int64_t last_time_ = kNoTime, shift_ = 0, frame_ticks_ = 1;
  bool draining_ = false;
};

}  // namespace shardreel::tools
