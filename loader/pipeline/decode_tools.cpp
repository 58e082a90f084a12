#include "loader/pipeline/decode_tools.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "loader/decode/device_decoding.h"
#include "loader/decode/placed_decoder.h"
#include "loader/media/device_frame_converter.h"
#include "loader/pipeline/device_watch.h"

namespace shardreel {
namespace {

DecodeTools cpu_tools(const LoaderOptions& options) {
  return {make_cpu_decoder(), make_frame_converter(options.transform)};
}

class Toolbox final : public DecodeToolbox {
 public:
  explicit Toolbox(ToolboxContext context) : context_(std::move(context)) {
    PlacementOptions rules;
    rules.sessions.first = context_.options.resource.decode_threads;
    rules.sessions.most = std::max(rules.sessions.most, rules.sessions.first);
    // `decode = cuda` is meant to be the GPU; with auto, threads may help it.
    const auto gpus = static_cast<std::uint32_t>(context_.gpus.size());
    if (gpus > 0 && context_.options.resource.decode == DecodeDevice::kAuto)
      rules.split.most = (context_.options.resource.decode_threads + gpus - 1) / gpus;
    for (const LaneDevice& gpu : context_.gpus)
      placements_.push_back(std::make_unique<Placement>(gpu.device, gpu.governor, rules));
    if (placements_.empty()) return;
    watch_.emplace(
        [this] {
          for (const auto& placement : placements_) placement->look();
        },
        rules.reading_every);
  }

  DecodeTools make(std::size_t thread) override {
    if (placements_.empty()) return cpu_tools(context_.options);
    const std::size_t which = thread % placements_.size();
    auto tools = gpu_tools(which);
    if (tools) return std::move(*tools);
    say_once(fmt::format("a decode thread works without {}: {}",
                         context_.gpus[which].device->id().to_string(), tools.error().describe()));
    return cpu_tools(context_.options);
  }

  void write_to(Metrics& metrics) const override {
    for (const auto& placement : placements_) add_sessions(placement->gauges(), metrics);
  }

 private:
  /// Holds the lease of the converter's memory, which goes first.
  class LeasedConverter final : public FrameConverter {
   public:
    LeasedConverter(GpuLease lease, std::unique_ptr<FrameConverter> converter)
        : lease_(std::move(lease)), converter_(std::move(converter)) {}
    LeasedConverter(const LeasedConverter&) = delete;
    LeasedConverter& operator=(const LeasedConverter&) = delete;
    ~LeasedConverter() override {
      lease_.freeing();
      converter_.reset();
    }
    Result<void> convert(const AVFrame& frame, const FrameGeometry& geometry,
                         std::span<std::byte> slot) override {
      return converter_->convert(frame, geometry, slot);
    }
    [[nodiscard]] bool is_on_device(const AVFrame& frame) const override {
      return converter_->is_on_device(frame);
    }
    Result<void> convert_there(const AVFrame& frame, const FrameGeometry& geometry,
                               std::byte* slot) override {
      return converter_->convert_there(frame, geometry, slot);
    }
    [[nodiscard]] bool writes_later() const noexcept override { return converter_->writes_later(); }
    Result<void> finish() override { return converter_->finish(); }
    [[nodiscard]] std::uint64_t scratch_bytes() const noexcept override {
      return converter_->scratch_bytes();
    }

   private:
    GpuLease lease_;
    std::unique_ptr<FrameConverter> converter_;
  };

  Result<DecodeTools> gpu_tools(std::size_t which) {
    const LoaderOptions& options = context_.options;
    const LaneDevice& gpu = context_.gpus[which];
    const std::uint64_t bytes =
        device_converter_bytes(options.transform, options.window.num_frames);
    auto lease = gpu.governor->try_reserve(governor_now(), bytes);
    if (!lease) return device_error(DeviceFault::kOutOfMemory, "no room for the frames of a clip");
    auto decoding = open_device_decoding(gpu.device, options.transform, options.window.num_frames);
    if (!decoding) return decoding.error();
    lease->allocated(bytes);
    auto converter =
        std::make_unique<LeasedConverter>(std::move(*lease), std::move(decoding->converter));
    PlacedRules rules;
    rules.only_device = options.resource.decode == DecodeDevice::kCuda;
    if (!rules.only_device)
      rules.proof = std::make_unique<PixelProof>(*converter, options.transform);
    rules.warn = [this](const std::string& line) { say_once(line); };
    rules.placed = [&counters = context_.counters](DecodePath path, std::size_t clips) {
      counters.decoded_by[static_cast<std::size_t>(path)] += clips;
    };
    return DecodeTools{make_placed_decoder(*placements_[which], std::move(decoding->way),
                                           make_cpu_decoder(), std::move(rules)),
                       std::move(converter), gpu.device};
  }

  void say_once(const std::string& line) {
    const std::lock_guard lock(mutex_);
    if (said_.insert(line).second && context_.warn) context_.warn(line);
  }

  const ToolboxContext context_;
  std::vector<std::unique_ptr<Placement>> placements_;  // one a GPU
  std::optional<DeviceWatch> watch_;                    // of those
  std::mutex mutex_;
  std::set<std::string> said_;
};

struct Replacement {
  std::mutex mutex;
  ToolboxMaker maker;
};
Replacement& replacement() {
  static Replacement only;
  return only;
}

}  // namespace

void add_sessions(const Placement::Gauges& gauges, Metrics& metrics) {
  metrics.gpu_sessions["made"] += gauges.made;
  metrics.gpu_sessions["used_again"] += gauges.used_again;
  metrics.gpu_sessions["given_back"] += gauges.given_back;
  metrics.gpu_sessions["at_work"] += gauges.at_work;
  metrics.gpu_sessions["idle"] += gauges.idle;
  if (gauges.most_at_work > 0) metrics.gpu_sessions["most_at_work"] += gauges.most_at_work;
  for (const auto& [name, cost] : {std::pair{"cpu_megapixel", gauges.cpu_seconds},
                                   {"gpu_megapixel", gauges.device_seconds},
                                   {"session_start", gauges.start_seconds}}) {
    if (!cost) continue;
    double& dearest = metrics.decode_costs[name];
    dearest = std::max(dearest, *cost);
  }
}

std::unique_ptr<DecodeToolbox> make_decode_toolbox(ToolboxContext context) {
  return std::make_unique<Toolbox>(std::move(context));
}

void replace_decode_toolbox(ToolboxMaker maker) {
  const std::lock_guard lock(replacement().mutex);
  replacement().maker = std::move(maker);
}

std::unique_ptr<DecodeToolbox> decode_toolbox(ToolboxContext context) {
  const std::lock_guard lock(replacement().mutex);
  return replacement().maker ? replacement().maker(std::move(context))
                             : make_decode_toolbox(std::move(context));
}

}  // namespace shardreel
