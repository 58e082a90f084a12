#pragma once
// Copy one clip into its place in a batch: layout, element type, normalisation.

#include <cstddef>
#include <span>
#include <vector>

#include "shardreel/options.h"

namespace shardreel {

/// Write a clip ([T, H, W, C] uint8) into its part of a batch ([T,H,W,C], [T,C,H,W] or [C,T,H,W] of
/// the options' dtype). Float: (value / 255 - mean[c]) / std[c], rounded to nearest even for
/// float16. Never allocates, cannot fail; `batch_part` must have exactly clip.size() elements.
void collate_clip(std::span<const std::byte> clip, const TransformOptions& options,
                  std::uint32_t num_frames, std::span<std::byte> batch_part);

/// What each of the 256 values becomes in a batch, [channels][256] of the options' dtype, for
/// devices that write batches themselves. Empty for uint8.
std::vector<std::byte> value_tables(const TransformOptions& options);

}  // namespace shardreel
