#include "loader/device/cuda/cuda_error.h"

#include <fmt/format.h>

namespace shardreel::cuda {

DeviceFault fault_of_code(cudaError_t code) {
  switch (code) {
    case cudaErrorMemoryAllocation: return DeviceFault::kOutOfMemory;
    // Seen without a driver, with one that is too old, with the toolkit's stub in its place,
    // without a device; after fork(); with a device that another process holds; with a driver and a
    // kernel module, or a fabric, that do not match.
    case cudaErrorInsufficientDriver:
    case cudaErrorStubLibrary:
    case cudaErrorNoDevice:
    case cudaErrorInitializationError:
    case cudaErrorDevicesUnavailable:
    case cudaErrorSystemNotReady:
    case cudaErrorSystemDriverMismatch:
    case cudaErrorCompatNotSupportedOnDevice:
    case cudaErrorUnknown:
    case cudaErrorCudartUnloading: return DeviceFault::kUnavailable;
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchFailure:
    case cudaErrorLaunchTimeout:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorContextIsDestroyed: return DeviceFault::kLost;
    default: return DeviceFault::kInvalid;
  }
}

Result<void> check(cudaError_t code, std::string_view doing) {
  if (code == cudaSuccess) return {};
  static_cast<void>(cudaGetLastError());
  return device_error(fault_of_code(code),
                      fmt::format("{}: {} ({}): {}", doing, cudaGetErrorName(code),
                                  static_cast<int>(code), cudaGetErrorString(code)));
}

}  // namespace shardreel::cuda
