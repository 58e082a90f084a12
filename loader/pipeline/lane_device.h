#pragma once
// A lane's device, and what it may take of it.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loader/device/device.h"
#include "loader/device/governor/governor.h"
#include "shardreel/options.h"

namespace shardreel {

struct LaneDevice {
  std::shared_ptr<Device> device;
  std::shared_ptr<Governor> governor;  // shared: leases outlive the lane with their batches
  std::uint64_t budget_bytes = 0;      ///< gpu_memory_bytes, of this device
};

/// Bytes of a device's memory: what the loader may hold, and what it leaves free for others.
struct GpuShares {
  std::uint64_t budget = 0, reserve = 0;
};
/// From `gpu_memory_bytes` and `gpu_memory_reserve`, of a device with `total_bytes`.
Result<GpuShares> gpu_shares(const ResourceOptions& options, std::uint64_t total_bytes);

/// The part of it that clips may take besides the lane's batches: the rest is for decoders.
[[nodiscard]] constexpr std::uint64_t device_clip_bytes(std::uint64_t budget,
                                                        std::uint64_t batches) {
  return budget > batches ? (budget - batches) / 2 : 0;
}
/// Give back what lies idle of its memory, whoever keeps it: all of those enrol with the governor
/// (`Governor::idle`). Nothing is granted for a while. Return how many bytes came.
std::uint64_t release(const LaneDevice& gpu);

/// Whether a lane's batches are in a GPU's memory.
[[nodiscard]] bool is_gpu(std::string_view device);

/// Whether GPUs may decode: `auto` has them do it where batches are theirs.
[[nodiscard]] bool gpus_decode(const ResourceOptions& options);

/// Open GPUs and take a first reading of their memory. With `decode = cuda`, fails where their
/// decoders cannot be used at all.
Result<std::vector<LaneDevice>> open_gpus(const std::vector<std::string>& names,
                                          const LoaderOptions& options);

}  // namespace shardreel
