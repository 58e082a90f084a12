#pragma once
// What a decoder and the memory plan have to know of a stream before it is decoded.

#include <cstdint>

#include "loader/media/av_handles.h"

namespace shardreel {

/// Estimate the bytes a single-threaded decoder holds at most: frames in flight at the coded size
/// and its tables. `reorder_frames`: how many frames it holds back to show them in order.
std::uint64_t estimate_decoder_bytes(const AVCodecParameters& codec, int reorder_frames);

/// A display matrix (nine numbers, as containers carry it; null is none) as quarter turns
/// clockwise, after mirroring horizontally. Other angles take the nearest turn.
struct DisplayOrientation {
  std::uint32_t quarter_turns = 0;
  bool mirror = false;
};
DisplayOrientation read_display_matrix(const std::int32_t* matrix);

}  // namespace shardreel
