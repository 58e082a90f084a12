#pragma once
// NVIDIA GPUs behind the seam, on the CUDA runtime. Host code only; nothing here needs a driver to
// start.

#include <cstdint>
#include <memory>

#include "loader/device/device.h"

namespace shardreel::cuda {

/// How many devices there are, at least one; kUnavailable says what is missing.
Result<std::uint32_t> device_count();

/// Open device `index`, below `device_count`. Buffers come from a memory pool of its own that holds
/// at most `pool_bytes` (0 = no bound): freed memory is kept for the next buffer until `trim`. Work
/// goes to non-blocking streams, which the legacy default stream does not wait for.
Result<std::shared_ptr<Device>> open_device(std::uint32_t index, std::uint64_t pool_bytes);

/// A stream's cudaStream_t; null when it is not a CUDA device's.
[[nodiscard]] void* native_stream(const Stream& stream);

}  // namespace shardreel::cuda
