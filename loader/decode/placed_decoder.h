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

/// A decode thread's way to its device.
struct DeviceWay {
  /// A decoder that has no session yet.
  std::function<Result<SessionDecoder>()> make;
  std::shared_ptr<Stream> reads;  ///< in whose order the sink reads frames
  std::unique_ptr<Event> ready;   ///< of frames that were written in another stream's
};

/// Decodes on the device what `placement` lets in there, the rest with `cpu`. Gives the sink the
/// same frames whichever way it goes: what the device's decoder gave before it failed is not given
/// again. `only_device`: kinds that the device refuses fail (kUnsupported) instead of going to the
/// CPU. Decoders of the device stop at the first error. `trim` is the CPU's alone: sessions stay
/// with `placement`, which gives them back when their memory is wanted.
std::unique_ptr<VideoDecoder> make_placed_decoder(Placement& placement, DeviceWay device,
                                                  std::unique_ptr<VideoDecoder> cpu,
                                                  bool only_device, OnPlaced on_placed);

}  // namespace shardreel
