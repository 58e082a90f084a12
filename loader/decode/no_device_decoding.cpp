// In builds without CUDA.
#include "loader/decode/device_decoding.h"

namespace shardreel {

Result<DeviceDecoding> open_device_decoding(const std::shared_ptr<Device>& device,
                                            const TransformOptions& /*options*/,
                                            std::size_t /*slots*/) {
  return device_error(DeviceFault::kUnavailable,
                      "decoding on " + device->id().to_string() + ": this build has no CUDA");
}

}  // namespace shardreel
