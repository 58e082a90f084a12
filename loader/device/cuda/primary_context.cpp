#include "loader/device/cuda/primary_context.h"

#include <cuda.h>
#include <dlfcn.h>
#include <fmt/format.h>

#include <utility>

namespace shardreel::cuda {
namespace {

constexpr const char* kLibrary = "libcuda.so.1";

Error unavailable(std::uint32_t device, std::string_view why) {
  return device_error(DeviceFault::kUnavailable,
                      fmt::format("taking the primary context of {}: {}",
                                  DeviceId{DeviceKind::kCuda, device}.to_string(), why));
}

}  // namespace

struct PrimaryContext::Driver {
  Driver() : library(dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL)) {
    if (library == nullptr) return;
    get = reinterpret_cast<decltype(&cuDeviceGet)>(dlsym(library, "cuDeviceGet"));
    retain = reinterpret_cast<decltype(&cuDevicePrimaryCtxRetain)>(
        dlsym(library, "cuDevicePrimaryCtxRetain"));
    // The header's macro names the newer of the two.
    release = reinterpret_cast<decltype(&cuDevicePrimaryCtxRelease)>(
        dlsym(library, "cuDevicePrimaryCtxRelease_v2"));
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  ~Driver() {
    if (library != nullptr) dlclose(library);
  }
  void* library;
  decltype(&cuDeviceGet) get = nullptr;
  decltype(&cuDevicePrimaryCtxRetain) retain = nullptr;
  decltype(&cuDevicePrimaryCtxRelease) release = nullptr;
};

PrimaryContext::PrimaryContext(std::unique_ptr<Driver> driver, int device, void* context)
    : driver_(std::move(driver)), device_(device), context_(context) {}

PrimaryContext::~PrimaryContext() {
  // While the process ends the driver may be gone, and the context with it.
  static_cast<void>(driver_->release(device_));
}

Result<std::unique_ptr<PrimaryContext>> PrimaryContext::retain(std::uint32_t index) {
  auto driver = std::make_unique<Driver>();
  if (driver->library == nullptr)
    return unavailable(index, fmt::format("{} is not installed", kLibrary));
  if (driver->get == nullptr || driver->retain == nullptr || driver->release == nullptr)
    return unavailable(index, fmt::format("{} lacks functions of CUDA 11", kLibrary));
  CUdevice device = 0;
  CUcontext context = nullptr;
  CUresult code = driver->get(&device, static_cast<int>(index));
  if (code == CUDA_SUCCESS) code = driver->retain(&context, device);
  if (code != CUDA_SUCCESS)
    return unavailable(index, fmt::format("the driver says {}", static_cast<int>(code)));
  return std::unique_ptr<PrimaryContext>(new PrimaryContext(std::move(driver), device, context));
}

}  // namespace shardreel::cuda
