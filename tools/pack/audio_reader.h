#pragma once
// A source's audio, packet by packet.

#include <memory>

#include "loader/media/av_handles.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"

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

}  // namespace shardreel::tools
