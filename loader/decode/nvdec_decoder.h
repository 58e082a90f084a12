#pragma once
// FFmpeg's CUDA decoders: frames stay in the GPU's memory.

#include <memory>
#include <optional>

#include "loader/decode/video_decoder.h"
#include "loader/device/device.h"
#include "loader/media/component_rows.h"
#include "shardreel/error.h"

namespace shardreel {

/// What the decode threads of one GPU share: FFmpeg's handle of it, on the runtime's own context.
class NvdecDevice {
 public:
  /// kUnavailable: the driver or FFmpeg cannot. Frames are written in the order of `stream`.
  static Result<std::shared_ptr<NvdecDevice>> open(std::shared_ptr<Device> device,
                                                   std::shared_ptr<Stream> stream);
  NvdecDevice(const NvdecDevice&) = delete;
  NvdecDevice& operator=(const NvdecDevice&) = delete;
  ~NvdecDevice();

  struct Handle;
  [[nodiscard]] const Handle& handle() const noexcept { return *handle_; }

 private:
  explicit NvdecDevice(std::unique_ptr<Handle> handle);
  const std::unique_ptr<Handle> handle_;
};

/// Gives frames in the GPU's memory and stops at the first error: kUnsupported when the GPU's
/// decoder does not take the video, kMemory when it has no room, else kDecodeError. Never gives
/// frames that FFmpeg fell back to decoding in software.
std::unique_ptr<VideoDecoder> make_nvdec_decoder(std::shared_ptr<NvdecDevice> device);

/// The samples' layout of frames that such a decoder gave.
[[nodiscard]] std::optional<PixelLayout> nvdec_layout(const AVFrame& frame);

}  // namespace shardreel
