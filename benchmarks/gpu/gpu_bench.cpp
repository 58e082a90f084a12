#include "benchmarks/gpu/gpu_bench.h"

extern "C" {
#include <libavcodec/avcodec.h>
}
#include <fmt/format.h>
#include <sched.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>

#include "benchmarks/gpu/network.h"
#include "loader/device/device_registry.h"

namespace shardreel::gpu_bench {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string version(int number) { return fmt::format("{}.{}", number / 1000, number % 1000 / 10); }

}  // namespace

Json describe_device() {
  const CudaPresence presence = cuda_presence();
  if (presence.devices == 0) throw std::runtime_error("no GPU here: " + presence.why_none);
  const auto device = open_device({DeviceKind::kCuda, 0}).value();
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "asking for the driver's version");
  check(cudaRuntimeGetVersion(&runtime), "asking for the runtime's version");
  const unsigned avcodec = avcodec_version();
  return {{"device", device->description()},
          {"devices", presence.devices},
          {"cuda_of_driver", version(driver)},
          {"cuda_runtime", version(runtime)},
          {"libavcodec", fmt::format("{}.{}.{}", avcodec >> 16, avcodec >> 8 & 255, avcodec & 255)},
          {"ffmpeg", av_version_info()},
          {"cores", cores()}};
}

LoaderOptions base_options(const Settings& settings) {
  LoaderOptions options;
  options.input.urls = settings.shards;
  options.window.unit_clips = settings.unit_clips;
  options.transform.resize_mode = ResizeMode::kStretch;
  options.batch.rank = 0;
  options.batch.world_size = 1;
  options.batch.epochs = settings.epochs;
  options.batch.drop_last = false;
  options.resource.memory_bytes = "4GiB";
  options.resource.shuffle_bytes = "640MiB";
  options.resource.min_fill = 8;
  options.resource.devices = {"cuda:0"};
  options.resource.decode = DecodeDevice::kCpu;
  options.resource.decode_threads = settings.cpu_threads != 0 ? settings.cpu_threads : cores();
  options.resource.gpu_memory_bytes = settings.gpu_memory_bytes;
  options.resource.gpu_memory_reserve = settings.gpu_memory_reserve;
  return options;
}

Run feed(const LoaderOptions& options, int layers,
         const std::function<void(Loader&, std::uint64_t clips)>& on_batch) {
  const OwnStream stream;
  std::unique_ptr<Network> network;
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> digest(XXH3_createState(),
                                                                               &XXH3_freeState);
  XXH3_64bits_reset(digest.get());
  Run run;
  const auto begin = Clock::now();
  Loader loader = Loader::open(options);
  for (std::uint64_t epoch = 0; epoch < options.batch.epochs; ++epoch) {
    while (auto batch = loader.next()) {
      if (run.clips == 0) run.first_batch_seconds = since(begin);
      for (const ClipInfo& clip : batch->clips) {
        const std::uint64_t id[] = {clip.id.epoch, clip.id.shard, clip.id.sample, clip.id.window};
        XXH3_64bits_update(digest.get(), id, sizeof id);
      }
      run.clips += batch->size();
      // The first batch is the largest: only the last one of an epoch is short.
      if (layers > 0 && !network)
        network = std::make_unique<Network>(stream.get(), layers, batch->size_bytes());
      batch->use_on(stream.get());
      if (network) network->run(batch->data(), batch->size_bytes());
      batch.reset();
      if (on_batch) on_batch(loader, run.clips);
    }
  }
  stream.synchronize();
  run.seconds = since(begin);
  const Metrics metrics = loader.metrics();
  run.frames = metrics.frames;
  run.clips_by_decoder = metrics.clips_by_decoder;
  run.gpu_sessions = metrics.gpu_sessions;
  run.clips_from_device = metrics.clips_from_device;
  run.order = fmt::format("{:016x}", XXH3_64bits_digest(digest.get()));
  return run;
}

OwnStream::OwnStream() {
  check(cudaSetDevice(0), "choosing the GPU");
  check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
}
OwnStream::~OwnStream() {
  static_cast<void>(cudaStreamSynchronize(stream_));
  static_cast<void>(cudaStreamDestroy(stream_));
}
void OwnStream::synchronize() const {
  check(cudaStreamSynchronize(stream_), "waiting for the GPU");
}

OwnMemory::OwnMemory(std::uint64_t bytes) {
  check(cudaMalloc(&data_, bytes), "taking memory of the GPU");
}
OwnMemory::~OwnMemory() {
  if (data_ != nullptr) static_cast<void>(cudaFree(data_));
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Json spread(const std::vector<double>& values) {
  return {{"median", median(values)}, {"all", values}};
}

double seconds_of(const std::function<void()>& work) {
  const auto begin = Clock::now();
  work();
  return since(begin);
}

std::uint32_t cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  return sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<std::uint32_t>(CPU_COUNT(&set))
                                                     : 1;
}

std::string file_name(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

void take_turns(int rounds, std::size_t count, const std::function<void(std::size_t)>& measure) {
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t turn = 0; turn < count; ++turn)
      measure(round % 2 == 0 ? turn : count - 1 - turn);
  }
}

}  // namespace shardreel::gpu_bench
