#pragma once
// What NVIDIA's management library knows and the runtime does not: how busy the decoders are, and
// memory without making a context. Opened while running; a machine without it goes on without.

#include <cstdint>
#include <memory>
#include <string>

#include "loader/device/device.h"

namespace shardreel::cuda {

/// Thread-safe. Devices are named by PCI bus id, because the library counts those that
/// CUDA_VISIBLE_DEVICES hides.
class Nvml {
 public:
  static constexpr const char* kLibrary = "libnvidia-ml.so.1";
  /// kUnavailable: not installed, too old, or it does not start.
  static Result<std::unique_ptr<Nvml>> open(const char* library = kLibrary);
  Nvml(const Nvml&) = delete;
  Nvml& operator=(const Nvml&) = delete;
  ~Nvml();

  [[nodiscard]] Result<DeviceMemory> memory(const std::string& pci_bus_id) const;
  /// Percent of the last sampling period in which decoders worked.
  [[nodiscard]] Result<std::uint32_t> decoder_percent(const std::string& pci_bus_id) const;

 private:
  struct Library;
  explicit Nvml(std::unique_ptr<Library> library);
  std::unique_ptr<Library> library_;
};

/// The PCI bus id of device `index` of the runtime.
Result<std::string> pci_bus_id(std::uint32_t index);

}  // namespace shardreel::cuda
