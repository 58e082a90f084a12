#pragma once
// Frames with known content in any pixel format, without a decoder.

#include <cstdint>
#include <string>

#include "loader/media/av_handles.h"

namespace shardreel::testing {

enum class Content {
  kPicture,  ///< slopes, edges, fine texture, saturated areas: what videos hold
  kNoise,    ///< every sample random: the worst case
};

/// Make a frame. `alignment` as av_frame_get_buffer takes it (1 = rows without padding).
AVFramePtr make_frame(const std::string& pixel_format, int width, int height, Content content,
                      std::uint64_t seed, int alignment = 64);

}  // namespace shardreel::testing
