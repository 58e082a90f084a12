// What does a shuffle buffer hold in memory, and what is that worth? One mode a run:
//   view         windows refer to their decoded video (the classic failure, a stand-in)
//   copy         the loader, shuffling clips
//   copy-yuv420  the loader, shuffling clips of 1.5 bytes a pixel, made RGB when they are batched
//   packets      the loader, shuffling compressed units
// Prints one JSON object: memory as the kernel reports it beside the ledger and the nominal bytes,
// every tenth of a second, and the order in which clips came. benchmarks/shuffle_memory.py runs all
// of them and compares.

#include <fmt/format.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "benchmarks/shuffle_memory/view_pipeline.h"
#include "loader/memory/process_memory.h"
#include "shardreel/loader.h"

namespace {

using namespace shardreel;
using Clock = std::chrono::steady_clock;

/// Memory over time, sampled by a thread of its own.
class Sampler {
 public:
  struct Own {
    std::uint64_t ledger = 0, nominal = 0, clips = 0;
  };
  explicit Sampler(std::function<Own()> own)
      : own_(std::move(own)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

  nlohmann::json finish() {
    thread_.request_stop();
    thread_.join();
    return std::move(series_);
  }

 private:
  void run(const std::stop_token& stop) {
    for (auto at = begin_; !stop.stop_requested(); at += std::chrono::milliseconds(100)) {
      std::this_thread::sleep_until(at);
      const ProcessMemory memory = process_memory();
      const Own own = own_();
      const std::chrono::duration<double> time = Clock::now() - begin_;
      series_.push_back({time.count(), memory.pss_bytes, memory.anonymous_bytes, own.ledger,
                         own.nominal, own.clips});
    }
  }

  const std::function<Own()> own_;
  const Clock::time_point begin_ = Clock::now();
  nlohmann::json series_ = nlohmann::json::array();
  std::jthread thread_;
};

/// I420 frames to RGB with BT.601, limited range, nearest chroma: the work that a consumer of
/// yuv420 clips has at batching.
void expand_yuv420(std::span<const std::byte> from, std::uint32_t width, std::uint32_t height,
                   std::vector<std::byte>& into) {
  const std::size_t pixels = std::size_t{width} * height;
  const std::size_t frames = from.size() / (pixels * 3 / 2);
  into.resize(frames * pixels * 3);
  const auto clamp = [](int value) {
    return static_cast<std::byte>(std::clamp(value >> 16, 0, 255));
  };
  for (std::size_t f = 0; f < frames; ++f) {
    const auto* y = reinterpret_cast<const std::uint8_t*>(from.data()) + f * pixels * 3 / 2;
    const std::uint8_t *u = y + pixels, *v = u + pixels / 4;
    std::byte* rgb = into.data() + f * pixels * 3;
    for (std::uint32_t row = 0; row < height; ++row) {
      for (std::uint32_t column = 0; column < width; ++column, rgb += 3) {
        const std::size_t chroma = std::size_t{row / 2} * (width / 2) + column / 2;
        const int luma = 76309 * (y[std::size_t{row} * width + column] - 16) + 32768;
        const int cb = u[chroma] - 128, cr = v[chroma] - 128;
        rgb[0] = clamp(luma + 104597 * cr);
        rgb[1] = clamp(luma - 25675 * cb - 53279 * cr);
        rgb[2] = clamp(luma + 132201 * cb);
      }
    }
  }
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Outcome {
  nlohmann::json series, order = nlohmann::json::array();
  std::uint64_t clips = 0;
  double first_batch_seconds = 0;

  void took(std::span<const ClipId> ids, Clock::time_point begin) {
    if (clips == 0)
      first_batch_seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    clips += ids.size();
    nlohmann::json batch = nlohmann::json::array();
    for (const ClipId& id : ids) batch.push_back({id.shard, id.sample, id.window});
    order.push_back(std::move(batch));
  }
};

Outcome run_view(const LoaderOptions& options, std::uint64_t shuffle_bytes,
                 std::uint64_t clip_bytes) {
  Outcome outcome;
  std::atomic<std::uint64_t> windows{0};
  Sampler sampler([&] {
    const std::uint64_t held = windows;
    return Sampler::Own{held * clip_bytes, held * clip_bytes, held};
  });
  const auto begin = Clock::now();
  bench::run_view_pipeline(
      options, shuffle_bytes, [&](auto ids, auto) { outcome.took(ids, begin); },
      [&](std::uint64_t held) { windows = held; });
  outcome.series = sampler.finish();
  return outcome;
}

Outcome run_loader(const LoaderOptions& options, std::uint64_t clip_bytes) {
  Outcome outcome;
  const auto begin = Clock::now();
  Loader loader = Loader::open(options);
  const bool packets = options.resource.shuffle_domain == ShuffleDomain::kPackets;
  Sampler sampler([&] {
    const Metrics metrics = loader.metrics();
    std::uint64_t ledger = 0;
    for (const auto& [tag, use] : metrics.ledger) ledger += use.now;
    return Sampler::Own{
        ledger, packets ? metrics.ledger.at("packets").now : metrics.shuffle_clips * clip_bytes,
        metrics.shuffle_clips};
  });
  std::vector<ClipId> ids;
  std::vector<std::byte> expanded;
  while (auto batch = loader.next()) {
    ids.clear();
    for (const ClipInfo& clip : batch->clips) ids.push_back(clip.id);
    if (options.transform.color == ColorMode::kYuv420) {
      for (std::size_t i = 0; i < batch->size(); ++i)
        expand_yuv420(batch->clip_bytes(i), options.transform.width, options.transform.height,
                      expanded);
    }
    outcome.took(ids, begin);
  }
  outcome.series = sampler.finish();
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Memory of a shuffle buffer, in one mode"};
  LoaderOptions options;
  std::string mode = "copy", shuffle = "all";
  std::uint64_t buffer_clips = 256;
  app.add_option("shards", options.input.urls, "tar shards of mp4 videos")->required();
  app.add_option("--mode", mode)->check(CLI::IsMember({"view", "copy", "copy-yuv420", "packets"}));
  app.add_option("--buffer-clips", buffer_clips, "RGB clips whose bytes the buffer may hold");
  app.add_option("--windows-per-video", options.window.windows_per_video, "0 = all");
  app.add_option("--seed", options.batch.seed);
  app.add_option("--shuffle", shuffle, "shards: the order without a clip shuffle")
      ->check(CLI::IsMember({"all", "shards"}));
  CLI11_PARSE(app, argc, argv);

  const std::uint64_t rgb_bytes = std::uint64_t{16} * 224 * 224 * 3;
  const std::uint64_t shuffle_bytes = buffer_clips * rgb_bytes;
  options.batch.drop_last = false;
  options.batch.rank = 0;
  options.batch.world_size = 1;
  options.resource.decode_threads = 1;  // as the stand-in has
  options.resource.shuffle_bytes = std::to_string(shuffle_bytes);
  // Reading, decoding and batches get the same in every run, and not so much that it hides the
  // buffer.
  options.resource.memory_bytes = std::to_string(shuffle_bytes + (std::uint64_t{256} << 20));
  if (shuffle == "shards") {
    options.batch.shuffle = ShuffleMode::kShards;
    options.resource.shuffle_bytes.clear();
  }
  if (mode == "copy-yuv420") options.transform.color = ColorMode::kYuv420;
  if (mode == "packets") options.resource.shuffle_domain = ShuffleDomain::kPackets;
  const std::uint64_t clip_bytes = mode == "copy-yuv420" ? rgb_bytes / 2 : rgb_bytes;
  try {
    const auto begin = Clock::now();
    const Outcome outcome = mode == "view" ? run_view(options, shuffle_bytes, clip_bytes)
                                           : run_loader(options, clip_bytes);
    const std::chrono::duration<double> seconds = Clock::now() - begin;
    const nlohmann::ordered_json result = {
        {"mode", mode},
        {"windows_per_video", options.window.windows_per_video},
        {"buffer_bytes", shuffle_bytes},
        {"clip_bytes", clip_bytes},
        {"clips", outcome.clips},
        {"seconds", seconds.count()},
        {"cpu_seconds", cpu_seconds()},
        {"first_batch_seconds", outcome.first_batch_seconds},
        {"columns", {"seconds", "pss", "anonymous", "ledger", "nominal", "clips"}},
        {"series", outcome.series},
        {"order", outcome.order}};
    fmt::print("{}\n", result.dump());
  } catch (const std::exception& error) {
    fmt::print(stderr, "shuffle_memory: {}\n", error.what());
    return 1;
  }
  return 0;
}
