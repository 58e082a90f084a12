#pragma once
// A GPU's decoder where there is no GPU: the CPU's decoder, whose frames go into a virtual device's
// memory, and which fails when a script says so.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "loader/decode/video_decoder.h"
#include "loader/device/device.h"
#include "loader/media/av_handles.h"
#include "loader/media/component_rows.h"
#include "shardreel/error.h"

namespace shardreel::testing {

/// How an attempt ends: nothing = well; else with this error behind so many frames.
struct ScriptedEnd {
  Error error;
  std::uint64_t behind_frames = 0;
};
/// Asked once for every unit that is tried.
using DecodeScript = std::function<std::optional<ScriptedEnd>(const StreamParameters& parameters)>;

/// What a session takes of the device's memory from its first unit until `trim`.
inline constexpr std::uint64_t kVirtualSessionBytes = 64 << 10;

/// Stops at the first error, as decoders of devices do. Frames are written in the order of
/// `stream`, later. `luma_error`: so much brighter than they should be.
std::unique_ptr<VideoDecoder> make_virtual_gpu_decoder(std::shared_ptr<Device> device,
                                                       std::shared_ptr<Stream> stream,
                                                       DecodeScript script, int luma_error = 0);

/// A copy of the frame whose planes are in the device's memory once `stream` has come to it; it
/// goes with its last reference.
Result<AVFramePtr> frame_on_device(Device& device, const std::shared_ptr<Stream>& stream,
                                   const AVFrame& frame);
/// The layout of such frames, which the decoder gives, too; nothing for others.
std::optional<PixelLayout> virtual_gpu_layout(const AVFrame& frame);

}  // namespace shardreel::testing
