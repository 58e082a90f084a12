#include "loader/device/device_registry.h"

#include <fmt/format.h>

#include "loader/device/host_device.h"
#ifdef SHARDREEL_CUDA
#include "loader/device/cuda/cuda_device.h"
#endif

namespace shardreel {

CudaPresence cuda_presence() {
#ifdef SHARDREEL_CUDA
  const auto count = cuda::device_count();
  if (!count) return {0, count.error().message};
  return {*count, {}};
#else
  return {0, "this build has no CUDA"};
#endif
}

Result<std::shared_ptr<Device>> open_device(const DeviceId& id, std::uint64_t pool_bytes) {
  if (id.kind == DeviceKind::kCpu) return std::shared_ptr<Device>(HostDevice::make(id.index));
  const CudaPresence presence = cuda_presence();
  if (id.index >= presence.devices) {
    return device_error(
        DeviceFault::kUnavailable,
        fmt::format("opening {}: {}", id.to_string(),
                    presence.devices == 0
                        ? "no CUDA here: " + presence.why_none
                        : fmt::format("expected cuda:0 to cuda:{}", presence.devices - 1)));
  }
#ifdef SHARDREEL_CUDA
  return cuda::open_device(id.index, pool_bytes);
#else
  static_cast<void>(pool_bytes);
  return device_error(DeviceFault::kUnavailable, presence.why_none);
#endif
}

}  // namespace shardreel
