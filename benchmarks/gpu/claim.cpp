// Decoding on the CPU and copying clips up, against decoding on the GPU: the same video, windows,
// order and network, in turns.
#include "benchmarks/gpu/gpu_bench.h"
#include "benchmarks/gpu/network.h"

namespace shardreel::gpu_bench {

Json measure_claim(const Settings& settings) {
  LoaderOptions options = base_options(settings);
  const std::uint64_t frame_bytes =
      std::uint64_t{3} * options.transform.width * options.transform.height;
  Json result;
  result["network"] = {{"layers", settings.layers},
                       {"flops_per_frame", Network::flops(frame_bytes, settings.layers)}};
  result["decode_threads"] = options.resource.decode_threads;
  result["rounds"] = settings.rounds;
  result["videos"] = Json::array();
  for (const std::string& shard : settings.shards) {
    options.input.urls = {shard};
    std::vector<Run> runs[2];
    const auto measure = [&](std::size_t which) {
      options.resource.decode = which == 0 ? DecodeDevice::kCpu : DecodeDevice::kCuda;
      runs[which].push_back(feed(options, settings.layers));
    };
    measure(0);  // files, kernels and contexts are loaded by then
    measure(1);
    for (auto& of_one : runs) of_one.clear();
    take_turns(settings.rounds, 2, measure);
    std::vector<double> seconds[2], ratios;
    bool same_order = true;
    for (std::size_t i = 0; i < runs[0].size(); ++i) {
      seconds[0].push_back(runs[0][i].seconds);
      seconds[1].push_back(runs[1][i].seconds);
      ratios.push_back(runs[0][i].seconds / runs[1][i].seconds);
      same_order = same_order && runs[0][i].order == runs[1][i].order;
    }
    result["videos"].push_back({{"shard", file_name(shard)},
                                {"frames", runs[0].front().frames},
                                {"cpu_seconds", spread(seconds[0])},
                                {"gpu_seconds", spread(seconds[1])},
                                {"cpu_over_gpu", spread(ratios)},
                                {"same_order", same_order},
                                {"clips_by_decoder", runs[1].front().clips_by_decoder},
                                {"clips", runs[1].front().clips},
                                {"clips_from_device", runs[1].front().clips_from_device}});
  }
  return result;
}

}  // namespace shardreel::gpu_bench
