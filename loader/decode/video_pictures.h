#pragma once
// Single frames of a video as pictures, through the same decoder and converter as clips.

#include <cstddef>
#include <cstdint>
#include <stop_token>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "loader/demux/video_file.h"
#include "shardreel/error.h"

namespace shardreel {

struct FramePicture {
  std::int64_t frame = 0;  ///< in display order, from 0
  std::uint32_t width = 0, height = 0;
  std::vector<std::byte> rgb;  ///< [height, width, 3]; empty when the frame did not come out
  bool corrupt = false;        ///< the decoder flagged it
};

/// Decode `frames` (ascending, each in [0, frame_count)) and scale each whole picture, turned and
/// mirrored as the display matrix asks, to width x height; the sample aspect is in those two. Gives
/// one entry a frame, in order. Uses up `video`'s units. Memory: the pictures, a decoder's frames,
/// and one unit's packets where they are few, else a streaming unit.
Result<std::vector<FramePicture>> decode_pictures(VideoFile& video,
                                                  const std::vector<std::int64_t>& frames,
                                                  std::uint32_t width, std::uint32_t height,
                                                  VideoDecoder& decoder,
                                                  const std::stop_token& stop);

}  // namespace shardreel
