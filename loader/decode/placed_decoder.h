#pragma once
// A decode thread that may use a device's decoder: unit by unit, and back to the CPU when that one
// does not take it.

#include <functional>
#include <memory>
#include <string>

#include "loader/decode/pixel_proof.h"
#include "loader/decode/placement.h"
#include "loader/decode/video_decoder.h"

namespace shardreel {

/// How a thread's units are placed.
struct PlacedRules {
  /// Kinds that the device refuses fail (kUnsupported) instead of going to the CPU.
  bool only_device = false;
  /// The first unit of each kind is decoded by both. The kind goes to the device if that shows the
  /// CPU's pictures, else it is refused, and `warn` is told. Null: it is believed.
  std::unique_ptr<PixelProof> proof;
  std::function<void(const std::string& line)> warn;
  /// What became of a unit.
  std::function<void(DecodePath path, std::size_t clips)> placed;
};

/// A decode thread's way to its device.
struct DeviceWay {
  /// A decoder that has no session yet.
  std::function<Result<SessionDecoder>()> make;
  std::shared_ptr<Stream> reads;  ///< in whose order the sink reads frames
  std::unique_ptr<Event> ready;   ///< of frames that were written in another stream's
};

/// Decodes on the device what `placement` lets in there, the rest with `cpu`. Gives the sink the
/// same frames whichever way it goes: what the device's decoder gave before it failed is not given
/// again. Decoders of the device stop at the first error. `trim` is the CPU's alone: sessions stay
/// with `placement`, which gives them back when their memory is wanted.
std::unique_ptr<VideoDecoder> make_placed_decoder(Placement& placement, DeviceWay device,
                                                  std::unique_ptr<VideoDecoder> cpu,
                                                  PlacedRules rules);

}  // namespace shardreel
