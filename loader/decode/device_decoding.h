#pragma once
// A decode thread's own way to a device's decoder.

#include <cstddef>
#include <memory>

#include "loader/decode/placed_decoder.h"
#include "loader/device/device.h"
#include "loader/media/frame_converter.h"
#include "shardreel/options.h"

namespace shardreel {

struct DeviceDecoding {
  DeviceWay way;
  std::unique_ptr<FrameConverter> converter;  ///< of its frames, and of the host's
};

/// On a stream of its own; clips of up to `slots` frames. kUnavailable: this build, or this
/// machine, cannot. kOutOfMemory.
Result<DeviceDecoding> open_device_decoding(const std::shared_ptr<Device>& device,
                                            const TransformOptions& options, std::size_t slots);

}  // namespace shardreel
