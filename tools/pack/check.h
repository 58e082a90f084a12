#pragma once
// How closely a video is looked at before it is packed.

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel::tools {

enum class CheckLevel {
  kNone,    ///< not empty and readable
  kOpen,    ///< a container that is not cut short, with a video stream this build can take
  kDecode,  ///< besides, every frame decodes without an error
};

/// Parse "none", "open" or "decode".
std::optional<CheckLevel> parse_check_level(std::string_view text);
std::string_view to_string(CheckLevel level) noexcept;

/// What a manifest counts of a video.
struct VideoSummary {
  std::string codec;
  std::uint32_t width = 0, height = 0;  ///< as shown
  std::uint64_t frames = 0;
  double seconds = 0;
  friend bool operator==(const VideoSummary&, const VideoSummary&) = default;
};

/// Look at a video; nothing in it is known at kNone. The error is why it is refused: kNotMedia
/// (also empty), kNoVideoStream, kEncrypted, kUnsupported, kTruncated, kDecodeError, kIo; kStopped
/// when `stop` asks. `field` ("mp4") is a hint for the container.
Result<std::optional<VideoSummary>> check_video(std::shared_ptr<const RandomAccess> content,
                                                const std::string& field, CheckLevel level,
                                                const std::stop_token& stop);

/// Decode the whole video on this thread: kDecodeError when a frame is missing or damaged, or the
/// decoder reported an error, with how many.
Result<void> decode_every_frame(std::shared_ptr<const RandomAccess> content,
                                const std::string& field, const std::stop_token& stop);

}  // namespace shardreel::tools
