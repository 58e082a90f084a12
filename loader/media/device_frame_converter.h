#pragma once
// Frames that a device's decoder left in its memory: converted there, in one pass, and brought down
// to their slots a clip at a time.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "loader/device/device.h"
#include "loader/media/component_rows.h"
#include "loader/media/frame_converter.h"
#include "shardreel/options.h"

namespace shardreel {

/// The samples' layout of a frame in the device's memory; nothing for a frame of the host.
using DeviceFrameLayout = std::function<std::optional<PixelLayout>(const AVFrame& frame)>;

/// Converts frames of the host as `make_frame_converter` does, those of the device there, in the
/// order of `stream`, to the same pixels within the contract (docs/pixels.md). The latter write
/// later: up to `slots` slots wait in device and in pinned memory for `finish`, which begins by
/// itself when they are full; slots on the device need neither. kUnsupported: a format that only
/// the host converts. kOutOfMemory as Device has it.
Result<std::unique_ptr<FrameConverter>> make_device_frame_converter(std::shared_ptr<Device> device,
                                                                    std::shared_ptr<Stream> stream,
                                                                    DeviceFrameLayout layout,
                                                                    const TransformOptions& options,
                                                                    std::size_t slots);

/// What one takes of the device and of pinned memory.
[[nodiscard]] std::uint64_t device_converter_bytes(const TransformOptions& options,
                                                   std::size_t slots);

}  // namespace shardreel
