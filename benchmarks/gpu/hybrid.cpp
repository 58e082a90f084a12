// What the GPU's decoders and the CPU's cores decode together, over the sum of what each does
// alone: some decode threads have the GPU's tools, the others the CPU's.
#include <utility>

#include "benchmarks/gpu/gpu_bench.h"
#include "loader/pipeline/decode_tools.h"

namespace shardreel::gpu_bench {
namespace {

/// Gives the first threads what the loader's own toolbox gives, and the rest the CPU's tools.
class SplitToolbox final : public DecodeToolbox {
 public:
  SplitToolbox(const LoaderOptions& options, std::unique_ptr<DecodeToolbox> inner,
               std::size_t gpu_threads)
      : options_(options), inner_(std::move(inner)), gpu_threads_(gpu_threads) {}
  DecodeTools make(std::size_t thread) override {
    if (thread < gpu_threads_) return inner_->make(thread);
    return {make_cpu_decoder(), make_frame_converter(options_.transform)};
  }

 private:
  const LoaderOptions& options_;
  const std::unique_ptr<DecodeToolbox> inner_;
  const std::size_t gpu_threads_;
};

/// While it lives, loaders decode on the GPU with that many of their threads.
class SplitThreads {
 public:
  explicit SplitThreads(std::size_t gpu_threads) {
    replace_decode_toolbox([gpu_threads](ToolboxContext context) {
      const LoaderOptions& options = context.options;
      return std::make_unique<SplitToolbox>(options, make_decode_toolbox(std::move(context)),
                                            gpu_threads);
    });
  }
  SplitThreads(const SplitThreads&) = delete;
  SplitThreads& operator=(const SplitThreads&) = delete;
  ~SplitThreads() { replace_decode_toolbox(nullptr); }
};

}  // namespace

Json measure_hybrid(const Settings& settings) {
  LoaderOptions options = base_options(settings);
  options.resource.decode = DecodeDevice::kCuda;
  const std::uint32_t on_cpu = options.resource.decode_threads, on_gpu = settings.gpu_threads;
  const std::vector<std::pair<std::uint32_t, std::uint32_t>> splits = {
      {on_gpu, 0}, {0, on_cpu}, {on_gpu, on_cpu}};  // of the GPU, of the CPU
  std::vector<Run> runs[3];
  const auto measure = [&](std::size_t which) {
    const auto& [gpu, cpu] = splits[which];
    options.resource.decode_threads = gpu + cpu;
    const SplitThreads split(gpu);
    runs[which].push_back(feed(options, 0));
  };
  measure(0);
  runs[0].clear();
  take_turns(settings.rounds, 3, measure);
  std::vector<double> rates[3], fractions;
  for (std::size_t i = 0; i < runs[0].size(); ++i) {
    for (std::size_t which = 0; which < 3; ++which)
      rates[which].push_back(runs[which][i].clips_per_second());
    fractions.push_back(rates[2][i] / (rates[0][i] + rates[1][i]));
  }
  return {{"gpu_threads", on_gpu},
          {"cpu_threads", on_cpu},
          {"rounds", settings.rounds},
          {"gpu_clips_per_second", spread(rates[0])},
          {"cpu_clips_per_second", spread(rates[1])},
          {"both_clips_per_second", spread(rates[2])},
          {"both_over_sum", spread(fractions)},
          {"clips_by_decoder",
           {{"gpu", runs[0].front().clips_by_decoder},
            {"cpu", runs[1].front().clips_by_decoder},
            {"both", runs[2].front().clips_by_decoder}}},
          {"same_order", runs[0].front().order == runs[1].front().order &&
                             runs[0].front().order == runs[2].front().order}};
}

}  // namespace shardreel::gpu_bench
