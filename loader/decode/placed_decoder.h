#pragma once
// A decode thread that may use a device's decoder: unit by unit, and back to the CPU when that one
// does not take it.

#include <functional>
#include <memory>

#include "loader/decode/placement.h"
#include "loader/decode/video_decoder.h"

namespace shardreel {

/// What became of a unit that was placed.
using OnPlaced = std::function<void(DecodePath path, std::size_t clips)>;

/// Decodes on `device` what `placement` lets in there, the rest with `cpu`. Gives the sink the same
/// frames whichever way it goes: what the device's decoder gave before it failed is not given
/// again. `only_device`: kinds that the device refuses fail (kUnsupported) instead of going to the
/// CPU. `device` gives its sessions' memory back in `trim` and stops at the first error.
std::unique_ptr<VideoDecoder> make_placed_decoder(Placement& placement,
                                                  std::unique_ptr<VideoDecoder> device,
                                                  std::unique_ptr<VideoDecoder> cpu,
                                                  bool only_device, OnPlaced on_placed);

}  // namespace shardreel
