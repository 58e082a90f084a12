#pragma once
// Whether every frame of a video decodes.

#include <cstdint>
#include <optional>
#include <stop_token>

#include "loader/decode/video_decoder.h"
#include "loader/demux/video_file.h"
#include "shardreel/error.h"

namespace shardreel {

struct VideoCheck {
  std::int64_t frames = 0;          ///< that the container promises
  std::int64_t frames_missing = 0;  ///< that did not come out of the decoder
  std::int64_t frames_corrupt = 0;  ///< that the decoder flagged, or that follow an error
  std::int64_t first_bad_frame = -1;
  double first_bad_seconds = 0;      ///< its time after the first frame; 0 when unknown
  std::uint64_t errors = 0;          ///< packets that the decoder refused or concealed
  std::optional<Error> first_error;  ///< the decoder's own words
  [[nodiscard]] bool clean() const {
    return frames_missing == 0 && frames_corrupt == 0 && errors == 0;
  }
};

/// Decode all of `video`, as the loader does, and look at every frame; uses up its units. Errors:
/// kUnsupported, kStopped, and what the source reports. Memory: a decoder's frames and one unit's
/// packets, whatever the video's length.
Result<VideoCheck> check_video(VideoFile& video, VideoDecoder& decoder,
                               const std::stop_token& stop);

}  // namespace shardreel
