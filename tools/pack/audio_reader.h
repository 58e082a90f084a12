#pragma once
// A source's audio, packet by packet.

#include <cstdint>
#include <memory>
#include <utility>

#include "loader/media/av_handles.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"
#include "tools/pack/media_writer.h"

namespace shardreel::tools {

/// Gives the packets of a source's first audio stream. Not thread-safe.
class AudioReader {
 public:
  /// Null when there is no audio. `container`: the demuxer that the video was opened with.
  static Result<std::unique_ptr<AudioReader>> open(std::shared_ptr<const RandomAccess> source,
                                                   const AVInputFormat* container);
  virtual ~AudioReader() = default;
  [[nodiscard]] virtual const AVStream& stream() const noexcept = 0;
  virtual Result<bool> next(AVPacket& packet) = 0;
};

/// Hands audio packets to a writer as its video goes on. Not thread-safe.
class AudioFeed {
 public:
  explicit AudioFeed(std::unique_ptr<AudioReader> reader) : reader_(std::move(reader)) {}
  [[nodiscard]] const AVStream& stream() const noexcept { return reader_->stream(); }
  /// Write the packets that begin before `seconds` of the source's time, moved by `shift` (in
  /// `shift_base`), as stream `number`. Without `negative_times` none begins before 0.
  Result<void> write_until(double seconds, std::int64_t shift, AVRational shift_base,
                           MediaWriter& writer, int number, bool negative_times);

 private:
  std::unique_ptr<AudioReader> reader_;
  AVPacketPtr packet_;
  bool waiting_ = false;  ///< packet_ is read and not due yet
  bool ended_ = false;
};

}  // namespace shardreel::tools
