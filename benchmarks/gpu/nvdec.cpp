// Clips a second through the whole loader, decoded on the GPU, over what FFmpeg's CUDA decoders do
// with the same packets and nothing else: packets in memory, frames dropped as they come, a session
// for each of some threads that goes on from video to video.
#include "benchmarks/gpu/bare_decoding.h"
#include "benchmarks/gpu/gpu_bench.h"

namespace shardreel::gpu_bench {

Json measure_nvdec(const Settings& settings) {
  Json result;
  result["rounds"] = settings.rounds;
  result["epochs"] = settings.epochs;
  result["shards"] = Json::array();
  LoaderOptions options = base_options(settings);
  options.resource.decode = DecodeDevice::kCuda;
  for (const std::string& shard : settings.shards) {
    options.input.urls = {shard};
    const BareDecoding bare(shard);
    // As many sessions as there are engines is in here for every GPU up to eight of them.
    std::vector<std::uint32_t> sessions;
    for (const std::uint32_t count : {1U, 2U, 4U, 7U, 8U}) {
      if (count <= settings.gpu_threads) sessions.push_back(count);
    }
    std::vector<std::vector<double>> of_bare(sessions.size()), of_loader(sessions.size());
    Run last;
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      options.resource.decode_threads = sessions[i];
      take_turns(settings.rounds, 2, [&](std::size_t which) {
        if (which == 0) {
          const double seconds = seconds_of([&] { bare.decode(sessions[i], settings.epochs); });
          of_bare[i].push_back(static_cast<double>(bare.clips() * settings.epochs) / seconds);
        } else {
          last = feed(options, 0);
          of_loader[i].push_back(last.clips_per_second());
        }
      });
    }
    Json row = {{"shard", file_name(shard)}, {"sessions", Json::array()}};
    double best_bare = 0, best_loader = 0;
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      best_bare = std::max(best_bare, median(of_bare[i]));
      best_loader = std::max(best_loader, median(of_loader[i]));
      row["sessions"].push_back({{"count", sessions[i]},
                                 {"bare_clips_per_second", spread(of_bare[i])},
                                 {"loader_clips_per_second", spread(of_loader[i])}});
    }
    row["best_loader_over_best_bare"] = best_loader / best_bare;
    row["clips_by_decoder"] = last.clips_by_decoder;
    row["gpu_sessions"] = last.gpu_sessions;
    result["shards"].push_back(std::move(row));
  }
  return result;
}

}  // namespace shardreel::gpu_bench
