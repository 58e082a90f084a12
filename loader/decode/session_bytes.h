#pragma once
// What a decoder session takes of a device's memory, for videos that are described and not opened.

#include <cstdint>
#include <optional>
#include <string>

#include "shardreel/error.h"

namespace shardreel {

struct VideoKind {
  std::string codec;                    ///< FFmpeg's name, "h264"
  std::uint32_t width = 0, height = 0;  ///< coded
  std::string pixel_format;             ///< FFmpeg's name; empty when unknown (8 bits then)
};

/// By the formula that placement reserves with; nothing for codecs that no decoder of a device
/// takes. kInvalidOption: FFmpeg knows no video codec of that name.
Result<std::optional<std::uint64_t>> session_bytes(const VideoKind& kind);

}  // namespace shardreel
