#pragma once
// Which devices this build and this machine have.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loader/device/device.h"

namespace shardreel {

/// What there is of CUDA. Asking starts the CUDA runtime, so ask only when a device may be used.
struct CudaPresence {
  std::uint32_t devices = 0;
  std::string why_none;  ///< one clause, when there are no devices: "this build has no CUDA"
};
[[nodiscard]] CudaPresence cuda_presence();

/// Open a device. kUnavailable says why it is not there. `pool_bytes`: most bytes that buffers on a
/// CUDA device may hold; 0 = what there is.
Result<std::shared_ptr<Device>> open_device(const DeviceId& id, std::uint64_t pool_bytes = 0);

}  // namespace shardreel
