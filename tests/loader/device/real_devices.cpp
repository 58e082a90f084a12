// Host devices, and the GPU where there is one.
#include "loader/device/device_registry.h"
#include "loader/device/host_device.h"
#include "tests/loader/device/device_cases.h"

namespace shardreel::testing {
namespace {

HostDevice& host(Device& device) { return dynamic_cast<HostDevice&>(device); }

}  // namespace

std::vector<DeviceCase> device_cases() {
  DeviceCase virtual_device{"host", {}, nullptr, nullptr, nullptr, nullptr, nullptr};
  virtual_device.open = [](std::uint32_t index) -> std::shared_ptr<Device> {
    return HostDevice::make(index, {kDeviceBytes, true});
  };
  virtual_device.fail_allocation = [](Device& device, std::uint64_t nth) {
    host(device).fail_allocation(nth);
  };
  virtual_device.pause = [](Device& device, bool on) { host(device).pause(on); };
  virtual_device.foreign_stream = [](Device& device) -> std::shared_ptr<void> {
    return device.make_stream().value();
  };

  DeviceCase gpu{"cuda", cuda_presence().why_none, nullptr, nullptr, nullptr, nullptr, nullptr};
  gpu.open = [](std::uint32_t index) {
    return open_device({DeviceKind::kCuda, index % cuda_presence().devices}, kDeviceBytes).value();
  };
  return {virtual_device, gpu};
}

}  // namespace shardreel::testing
