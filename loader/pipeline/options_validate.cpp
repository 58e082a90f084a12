// What can be wrong with options, alone or together. Every check adds a sentence; none stops the
// others.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loader/device/device_registry.h"
#include "loader/pipeline/options_filter.h"
#include "loader/pipeline/options_table.h"
#include "shardreel/options.h"
#include "shardreel/units.h"

namespace shardreel {
namespace {

/// Larger outputs are mistakes; the bound also keeps a frame's bytes far from overflow.
constexpr std::uint32_t kMaxSide = 16384;
/// Bound of counts that are multiplied with each other or with bytes.
constexpr double kMostFps = 10000;
constexpr std::uint32_t kMaxCount = 1U << 24;
constexpr std::uint32_t kMaxThreads = 1024;
constexpr std::size_t kMaxLanes = 1024;

using Problems = std::vector<std::string>;

void need_range(Problems& problems, std::string_view name, std::uint64_t value, std::uint64_t low,
                std::uint64_t high) {
  if (value < low || value > high)
    problems.push_back(fmt::format("{} is from {} to {}, not {}", name, low, high, value));
}

void need_ratio(Problems& problems, std::string_view name, double value) {
  // Written so that NaN fails.
  if (!(value >= 0 && value <= 1))
    problems.push_back(fmt::format("{} is from 0 to 1, not {}", name, value));
}

void need_seconds(Problems& problems, std::string_view name, double value) {
  if (!(value > 0 && value <= 86400))
    problems.push_back(fmt::format("{} is above 0 and at most 86400 seconds, not {}", name, value));
}

/// Every part of `::`-joined URLs that is standard input.
std::size_t count_stdin(const std::vector<std::string>& urls) {
  std::size_t count = 0;
  for (const std::string& spec : urls) {
    for (std::size_t begin = 0; begin <= spec.size();) {
      const std::size_t end = std::min(spec.find("::", begin), spec.size());
      count += std::string_view(spec).substr(begin, end - begin) == "-" ? 1 : 0;
      begin = end + 2;
    }
  }
  return count;
}

void check_input(Problems& problems, const InputOptions& input) {
  if (input.urls.empty()) problems.push_back("urls is empty: name at least one shard");
  for (const std::string& url : input.urls) {
    if (url.empty()) problems.push_back("urls has an empty entry");
    if (!input.allow_pipe && url.find("pipe:") != std::string::npos)
      problems.push_back(
          fmt::format("urls has '{}', and allow_pipe = false forbids commands", url));
  }
  if (input.video_fields.empty())
    problems.push_back("video_fields is empty: name at least one field");
  for (const std::string& field : input.video_fields) {
    if (field.empty()) problems.push_back("video_fields has an empty entry");
  }
  need_ratio(problems, "max_skip_ratio", input.max_skip_ratio);
  need_range(problems, "connections", input.connections, 1, kMaxThreads);
  need_range(problems, "retries", input.retries, 0, kMaxThreads);
  need_seconds(problems, "request_timeout", input.request_timeout);
  need_seconds(problems, "stall_timeout", input.stall_timeout);
  need_seconds(problems, "shard_timeout", input.shard_timeout);
  if (input.cache_only && input.cache_dir.empty()) problems.push_back("cache_only needs cache_dir");
  for (const std::string& condition : input.filter) {
    const auto rule = parse_filter(condition);
    if (!rule) problems.push_back(rule.error().message);
  }
  need_range(problems, "open_shards", input.open_shards, 1, kMaxCount);
  need_range(problems, "open_videos", input.open_videos, 1, kMaxCount);
  need_range(problems, "reader_threads", input.reader_threads, 1, kMaxThreads);
  if (input.max_member_bytes == 0)
    problems.push_back("max_member_bytes is 0: no member could be read");
}

void check_windows(Problems& problems, const WindowOptions& window) {
  need_range(problems, "num_frames", window.num_frames, 1, kMaxCount);
  need_range(problems, "frame_step", window.frame_step, 1, kMaxCount);
  need_range(problems, "window_stride", window.window_stride, 0, kMaxCount);
  need_range(problems, "windows_per_video", window.windows_per_video, 0, kMaxCount);
  need_range(problems, "unit_clips", window.unit_clips, 1, kMaxCount);
  if (std::uint64_t{window.num_frames} * window.frame_step > kMaxCount)
    problems.push_back(fmt::format("num_frames x frame_step is at most {}", kMaxCount));
  if (window.fps && !(*window.fps > 0 && *window.fps <= kMostFps))
    problems.push_back(fmt::format("fps is above 0 and at most {}, not {}", kMostFps, *window.fps));
}

std::size_t channel_count(ColorMode color) { return color == ColorMode::kRgb ? 3 : 1; }

void check_channel_values(Problems& problems, std::string_view name,
                          const std::vector<double>& values, const TransformOptions& transform) {
  if (values.empty()) return;
  const std::size_t channels = channel_count(transform.color);
  if (values.size() != 1 && values.size() != channels)
    problems.push_back(fmt::format("{} has one value or one for each of {} channels, not {}", name,
                                   channels, values.size()));
  if (transform.dtype == DType::kUint8)
    problems.push_back(
        fmt::format("{} needs dtype = float16 or float32; uint8 is not normalised", name));
  if (!std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); }))
    problems.push_back(fmt::format("{} has a value that is no finite number", name));
}

void check_range(Problems& problems, std::string_view name, double low, double high, double most) {
  if (!(low > 0 && low <= high && high <= most))
    problems.push_back(
        fmt::format("{} is MIN-MAX with 0 < MIN <= MAX <= {}, not {}-{}", name, most, low, high));
}

void check_transform(Problems& problems, const TransformOptions& transform) {
  need_range(problems, "width", transform.width, 1, kMaxSide);
  need_range(problems, "height", transform.height, 1, kMaxSide);
  check_range(problems, "crop_scale", transform.crop_scale_min, transform.crop_scale_max, 1);
  check_range(problems, "crop_ratio", transform.crop_ratio_min, transform.crop_ratio_max, 1000);
  need_ratio(problems, "flip", transform.flip);
  check_channel_values(problems, "mean", transform.mean, transform);
  check_channel_values(problems, "std", transform.std, transform);
  if (std::find(transform.std.begin(), transform.std.end(), 0.0) != transform.std.end())
    problems.push_back("std has a 0, which cannot divide");
  if (transform.color == ColorMode::kYuv420) {
    if (transform.width % 2 != 0 || transform.height % 2 != 0)
      problems.push_back(fmt::format("color = yuv420 needs an even width and height, not {}x{}",
                                     transform.width, transform.height));
    if (transform.dtype != DType::kUint8) problems.push_back("color = yuv420 needs dtype = uint8");
    if (transform.layout != Layout::kThwc)
      problems.push_back("color = yuv420 needs layout = THWC: its planes lie one below the other");
  }
}

void check_ranks(Problems& problems, const LoaderOptions& options) {
  const BatchOptions& batch = options.batch;
  if (batch.rank.has_value() != batch.world_size.has_value()) {
    problems.push_back(fmt::format("{} is given without {}: give both or neither",
                                   batch.rank ? "rank" : "world_size",
                                   batch.rank ? "world_size" : "rank"));
  }
  if (batch.world_size) need_range(problems, "world_size", *batch.world_size, 1, kMaxCount);
  if (batch.rank && batch.world_size.value_or(0) > 0 && *batch.rank >= *batch.world_size)
    problems.push_back(
        fmt::format("rank is below world_size, not {} of {}", *batch.rank, *batch.world_size));

  const std::size_t lanes = options.resource.devices.size();
  const std::uint64_t world = std::uint64_t{batch.world_size.value_or(1)} * lanes;
  const std::size_t inputs = count_stdin(options.input.urls);
  if (inputs == 0) return;
  if (inputs > 1) problems.push_back("urls has '-' (standard input) more than once");
  if (batch.epochs != 1)
    problems.push_back(fmt::format("standard input can be read once: epochs is 1 with '-', not {}",
                                   batch.epochs == 0 ? "endless" : std::to_string(batch.epochs)));
  if (world > 1)
    problems.push_back(fmt::format(
        "standard input has one reader: '-' needs one rank and one lane, not {}", world));
}

void check_batches(Problems& problems, const BatchOptions& batch) {
  need_range(problems, "batch_size", batch.batch_size, 1, kMaxCount);
  if (batch.batches_per_epoch && *batch.batches_per_epoch == 0)
    problems.push_back("batches_per_epoch is 1 or more, not 0");
  need_range(problems, "prefetch_batches", batch.prefetch_batches, 1, kMaxCount);
  need_range(problems, "held_batches", batch.held_batches, 1, kMaxCount);
  if (batch.epoch > std::numeric_limits<std::uint64_t>::max() - batch.epochs)
    problems.push_back("epoch + epochs does not fit into 64 bits");
}

std::optional<double> percentage(std::string_view text) {
  if (!text.ends_with('%')) return std::nullopt;
  return parse_number(text.substr(0, text.size() - 1));
}

void check_memory(Problems& problems, const ResourceOptions& resource) {
  std::optional<std::uint64_t> memory;
  if (resource.memory_bytes.ends_with('%')) {
    const auto percent = percentage(resource.memory_bytes);
    if (!percent || !(*percent > 0 && *percent <= 100))
      problems.push_back(fmt::format("memory_bytes as a part is above 0% to 100%, not '{}'",
                                     resource.memory_bytes));
  } else if (const auto bytes = parse_bytes(resource.memory_bytes); !bytes) {
    problems.push_back("memory_bytes: " + bytes.error().message + ", or a part as 25%");
  } else if (*bytes == 0) {
    problems.push_back("memory_bytes is 0: nothing could be held");
  } else {
    memory = *bytes;
  }
  if (!resource.shuffle_bytes.empty()) {
    const auto bytes = parse_bytes(resource.shuffle_bytes);
    if (!bytes) {
      problems.push_back("shuffle_bytes: " + bytes.error().message);
    } else if (memory && *bytes >= *memory) {
      problems.push_back(
          fmt::format("shuffle_bytes ({}) must be below memory_bytes ({}): other stages "
                      "need their part",
                      format_bytes(*bytes), format_bytes(*memory)));
    }
  }
  need_range(problems, "min_fill", resource.min_fill, 1, kMaxCount);
}

/// Why there is no such GPU, or nothing. Starts the CUDA runtime, so only for options that name
/// one.
std::string why_not_there(const DeviceId& device) {
  const CudaPresence presence = cuda_presence();
  if (presence.devices == 0) return "there is no CUDA here: " + presence.why_none;
  if (device.index < presence.devices) return {};
  return fmt::format("this machine has cuda:0 to cuda:{}", presence.devices - 1);
}

void check_decode(Problems& problems, const ResourceOptions& resource) {
  if (resource.decode == DecodeDevice::kCuda) {
    const CudaPresence presence = cuda_presence();
    if (presence.devices == 0) {
      problems.push_back(fmt::format(
          "decode = cuda, but there is no CUDA here: {}; use decode = cpu", presence.why_none));
    }
  }
  need_range(problems, "decode_threads", resource.decode_threads, 0, kMaxThreads);
}

void check_gpu_memory(Problems& problems, std::string_view name, const std::string& text) {
  if (text.ends_with('%')) {
    const auto percent = percentage(text);
    if (!percent || !(*percent > 0 && *percent <= 100))
      problems.push_back(fmt::format("{} as a part is above 0% to 100%, not '{}'", name, text));
  } else if (const auto bytes = parse_bytes(text); !bytes) {
    problems.push_back(fmt::format("{}: {}, or a part as 8%", name, bytes.error().message));
  }
}

void check_devices(Problems& problems, const ResourceOptions& resource) {
  const std::vector<std::string>& devices = resource.devices;
  if (devices.empty()) problems.push_back("devices is empty: name at least one, e.g. cpu:0");
  if (devices.size() > kMaxLanes)
    problems.push_back(fmt::format("devices names at most {}", kMaxLanes));
  bool gpus = false, hosts = false;
  for (auto device = devices.begin(); device != devices.end(); ++device) {
    const auto id = DeviceId::parse(*device);
    if (*device == "auto") {
      if (devices.size() > 1) problems.push_back("devices: auto stands alone");
    } else if (!id) {
      problems.push_back(fmt::format(
          "devices has '{}'; a device is cpu:N or cuda:N, e.g. cpu:0, or auto", *device));
    } else if (id->kind == DeviceKind::kCpu) {
      hosts = true;
    } else {
      gpus = true;
      if (const std::string why = why_not_there(*id); !why.empty())
        problems.push_back(fmt::format("devices has '{}', but {}; use cpu:0", *device, why));
    }
    if (std::find(devices.begin(), device, *device) != device) {
      problems.push_back(fmt::format("devices has '{}' twice; each lane needs its own", *device));
    }
  }
  if (gpus && hosts) problems.push_back("devices names cpu and cuda lanes; expected one kind");
}

}  // namespace

std::vector<std::string> LoaderOptions::validate() const {
  Problems problems;
  check_input(problems, input);
  check_windows(problems, window);
  check_transform(problems, transform);
  check_batches(problems, batch);
  check_ranks(problems, *this);
  check_memory(problems, resource);
  check_devices(problems, resource);
  check_decode(problems, resource);
  check_gpu_memory(problems, "gpu_memory_bytes", resource.gpu_memory_bytes);
  if (!resource.gpu_memory_reserve.empty())
    check_gpu_memory(problems, "gpu_memory_reserve", resource.gpu_memory_reserve);
  return problems;
}

}  // namespace shardreel
