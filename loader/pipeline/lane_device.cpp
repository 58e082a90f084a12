#include "loader/pipeline/lane_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "loader/decode/device_decoding.h"
#include "loader/device/device_registry.h"
#include "loader/pipeline/memory_plan.h"
#include "shardreel/units.h"

namespace shardreel {
namespace {

// What is left to others unless it was said: a trainer's peak is not seen before it comes.
constexpr std::uint64_t kLeastReserve = 1_GiB;
constexpr std::uint64_t kReservePart = 20;

Result<LaneDevice> open_gpu(const std::string& name, const ResourceOptions& options) {
  const auto id = DeviceId::parse(name);
  if (!id) return device_error(DeviceFault::kInvalid, "'" + name + "' names no device");
  auto device = open_device(*id);
  if (!device) return device.error();
  const auto memory = (*device)->memory();
  if (!memory) return memory.error();
  const auto shares = gpu_shares(options, memory->total_bytes);
  if (!shares) return shares.error();
  GovernorOptions rules;
  rules.budget_bytes = shares->budget;
  rules.reserve_bytes = shares->reserve;
  LaneDevice gpu{std::move(*device), std::make_shared<Governor>(rules), shares->budget};
  gpu.governor->reading(governor_now(), memory->free_bytes);
  return gpu;
}

}  // namespace

std::uint64_t release(const LaneDevice& gpu) {
  const std::uint64_t came = gpu.governor->step_back(governor_now());
  const auto before = gpu.device->memory();
  gpu.device->trim();
  const auto after = gpu.device->memory();
  // Blocks of the device's pool: nobody's lease.
  const std::uint64_t kept = before && after && after->free_bytes > before->free_bytes
                                 ? after->free_bytes - before->free_bytes
                                 : 0;
  return came + kept;
}

bool is_gpu(std::string_view device) { return device.starts_with("cuda:"); }

bool gpus_decode(const ResourceOptions& options) {
  return options.decode == DecodeDevice::kCuda ||
         (options.decode == DecodeDevice::kAuto && std::ranges::any_of(options.devices, is_gpu));
}

Result<GpuShares> gpu_shares(const ResourceOptions& options, std::uint64_t total_bytes) {
  GpuShares shares;
  const auto budget = resolve_share("gpu_memory_bytes", options.gpu_memory_bytes, total_bytes);
  if (!budget) return budget.error();
  shares.budget = *budget;
  shares.reserve = std::max(kLeastReserve, total_bytes / kReservePart);
  if (options.gpu_memory_reserve.empty()) return shares;
  const auto reserve = resolve_share("gpu_memory_reserve", options.gpu_memory_reserve, total_bytes);
  if (!reserve) return reserve.error();
  shares.reserve = *reserve;
  return shares;
}

Result<std::vector<LaneDevice>> open_gpus(const std::vector<std::string>& names,
                                          const LoaderOptions& options) {
  std::vector<LaneDevice> gpus;
  for (const std::string& name : names) {
    auto gpu = open_gpu(name, options.resource);
    if (!gpu) return gpu.error();
    if (options.resource.decode == DecodeDevice::kCuda) {
      const auto decoding = open_device_decoding(gpu->device, options.transform, 1);
      if (!decoding) {
        return Error{.code = ErrorCode::kInvalidOption,
                     .message = fmt::format("decode = cuda, but {}; use decode = cpu",
                                            decoding.error().message)};
      }
    }
    gpus.push_back(std::move(*gpu));
  }
  return gpus;
}

}  // namespace shardreel
