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

/// Stops at the first error, as decoders of devices do.
std::unique_ptr<VideoDecoder> make_virtual_gpu_decoder(std::shared_ptr<Device> device,
                                                       DecodeScript script);

/// A copy of the frame whose planes are in the device's memory, which goes with its last reference.
Result<AVFramePtr> frame_on_device(Device& device, const std::shared_ptr<Stream>& stream,
                                   const AVFrame& frame);
/// The layout of such frames, which the decoder gives, too; nothing for others.
std::optional<PixelLayout> virtual_gpu_layout(const AVFrame& frame);

}  // namespace shardreel::testing
