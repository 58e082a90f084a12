#pragma once
// What a decoder and the memory plan have to know of a stream before it is decoded.

#include <cstdint>

#include "loader/demux/unit.h"
#include "loader/media/av_handles.h"

namespace shardreel {

/// Estimate the bytes a single-threaded decoder of this stream (`video_delay` frames are held back
/// to show them in order) holds at most while its pictures are this large: frames in flight and its
/// tables.
std::uint64_t estimate_decoder_bytes(const AVCodecParameters& codec, PictureSize picture);

/// What to plan a unit with that announces pictures up to `largest` (zeros: it does not tell):
/// them, where decoding takes no more than `most_bytes`, else those of the size the container
/// tells.
DecodePlan plan_decoding(const AVCodecParameters& codec, PictureSize largest,
                         std::uint64_t most_bytes);

/// A display matrix (nine numbers, as containers carry it; null is none) as quarter turns
/// clockwise, after mirroring horizontally. Other angles take the nearest turn.
struct DisplayOrientation {
  std::uint32_t quarter_turns = 0;
  bool mirror = false;
};
DisplayOrientation read_display_matrix(const std::int32_t* matrix);

}  // namespace shardreel
