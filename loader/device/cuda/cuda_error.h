#pragma once
// What the CUDA runtime returns, as an Error. The only file pair that knows its codes.

#include <cuda_runtime_api.h>

#include <string_view>

#include "loader/device/device.h"

namespace shardreel::cuda {

/// kUnavailable: no driver, too old a driver, no device, a forked child. kOutOfMemory: refused.
/// kLost: the context is broken for good. kInvalid: the rest.
[[nodiscard]] DeviceFault fault_of_code(cudaError_t code);

/// Return success, or `doing` with the runtime's name, number and text. Takes the error off the
/// thread, so that no later call reports it again.
Result<void> check(cudaError_t code, std::string_view doing);

}  // namespace shardreel::cuda
