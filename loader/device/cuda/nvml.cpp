#include "loader/device/cuda/nvml.h"

#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <array>

#include "loader/device/cuda/cuda_error.h"

namespace shardreel::cuda {
namespace {

// The part of nvml.h that is used; it is not in every toolkit, and its interface is frozen.
using Handle = struct NvmlDevice*;
struct MemoryInfo {
  unsigned long long total, free, used;
};
using Status = int;  // 0 is success

}  // namespace

struct Nvml::Library {
  void* opened = nullptr;
  bool started = false;
  Status (*init)() = nullptr;
  Status (*shutdown)() = nullptr;
  const char* (*error_string)(Status) = nullptr;
  Status (*handle)(const char*, Handle*) = nullptr;
  Status (*memory)(Handle, MemoryInfo*) = nullptr;
  Status (*decoder)(Handle, unsigned*, unsigned*) = nullptr;

  ~Library() {
    if (started) shutdown();
    if (opened != nullptr) dlclose(opened);
  }

  template <typename F>
  bool find(F& function, const char* name) {
    function = reinterpret_cast<F>(dlsym(opened, name));
    return function != nullptr;
  }
  [[nodiscard]] Result<void> check(Status status, std::string_view doing) const {
    if (status == 0) return {};
    return device_error(DeviceFault::kUnavailable,
                        fmt::format("{} with NVML: {} ({})", doing, error_string(status), status));
  }
  [[nodiscard]] Result<Handle> device(const std::string& pci_bus_id) const {
    Handle found = nullptr;
    if (auto done = check(handle(pci_bus_id.c_str(), &found), "finding " + pci_bus_id); !done)
      return done.error();
    return found;
  }
};

Nvml::Nvml(std::unique_ptr<Library> library) : library_(std::move(library)) {}
Nvml::~Nvml() = default;

Result<std::unique_ptr<Nvml>> Nvml::open(const char* library) {
  auto loaded = std::make_unique<Library>();
  loaded->opened = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (loaded->opened == nullptr) {
    const char* why = dlerror();
    return device_error(DeviceFault::kUnavailable,
                        fmt::format("opening NVML: {}", why != nullptr ? why : library));
  }
  if (!loaded->find(loaded->init, "nvmlInit_v2") ||
      !loaded->find(loaded->shutdown, "nvmlShutdown") ||
      !loaded->find(loaded->error_string, "nvmlErrorString") ||
      !loaded->find(loaded->handle, "nvmlDeviceGetHandleByPciBusId_v2") ||
      !loaded->find(loaded->memory, "nvmlDeviceGetMemoryInfo") ||
      !loaded->find(loaded->decoder, "nvmlDeviceGetDecoderUtilization")) {
    return device_error(DeviceFault::kUnavailable,
                        fmt::format("opening NVML: {} lacks a function", library));
  }
  if (auto done = loaded->check(loaded->init(), "starting"); !done) return done.error();
  loaded->started = true;
  return std::unique_ptr<Nvml>(new Nvml(std::move(loaded)));
}

Result<DeviceMemory> Nvml::memory(const std::string& pci_bus_id) const {
  auto device = library_->device(pci_bus_id);
  if (!device) return device.error();
  MemoryInfo info{};
  if (auto done = library_->check(library_->memory(*device, &info), "asking for memory"); !done)
    return done.error();
  return DeviceMemory{info.free, info.total};
}

Result<std::uint32_t> Nvml::decoder_percent(const std::string& pci_bus_id) const {
  auto device = library_->device(pci_bus_id);
  if (!device) return device.error();
  unsigned percent = 0, period = 0;
  if (auto done = library_->check(library_->decoder(*device, &percent, &period),
                                  "asking for the decoders' use");
      !done) {
    return done.error();
  }
  return percent;
}

Result<std::string> pci_bus_id(std::uint32_t index) {
  std::array<char, 32> text{};
  if (auto done = check(cudaDeviceGetPCIBusId(text.data(), static_cast<int>(text.size()),
                                              static_cast<int>(index)),
                        "asking for the PCI bus id");
      !done) {
    return done.error();
  }
  return std::string(text.data());
}

}  // namespace shardreel::cuda
