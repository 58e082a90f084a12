#pragma once
// What the questions of benchmarks/gpu share. Each gives one JSON object; docs/gpu-results.md says
// what its figures mean.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardreel/loader.h"

namespace shardreel::gpu_bench {

using Json = nlohmann::ordered_json;

struct Settings {
  std::vector<std::string> shards;
  int rounds = 5;
  int layers = 12;                ///< of the network
  std::uint32_t cpu_threads = 0;  ///< 0 = the cores this process may use
  std::uint32_t gpu_threads = 8;  ///< decode threads of the GPU where only it decodes
  std::uint32_t epochs = 1;       ///< that a run takes of the shards
  std::uint64_t copy_bytes = std::uint64_t{256} << 20;  ///< moved by a measurement of bandwidth
  int repeats = 200;                                    ///< of a small piece of work
  std::uint32_t unit_clips = WindowOptions().unit_clips;
  std::string gpu_memory_bytes = ResourceOptions().gpu_memory_bytes;
  std::string gpu_memory_reserve;
};

// --- the questions

/// 1. One video after the other through the network, decoded by the CPU and by the GPU.
Json measure_claim(const Settings& settings);
/// 2. The whole loader over FFmpeg's bare decoding on the GPU, shard by shard.
Json measure_nvdec(const Settings& settings);
/// 3. A lane's way up over a bare loop of copies, and how much of it hides behind work.
Json measure_lane(const Settings& settings);
/// 4. The kernel's bytes in a second over those of a copy inside the device.
Json measure_kernel(const Settings& settings);
/// 5. The GPU alone, the CPU alone, both.
Json measure_hybrid(const Settings& settings);
/// 6. Somebody takes nearly all memory in the middle of a run.
Json measure_pressure(const Settings& settings);
/// Which device, driver and libraries there are. Throws where there is no GPU, saying why.
Json describe_device();

// --- what they are made of

/// Clips of 16 frames, 224x224, in batches of 8 on the first GPU; one rank; a small shuffle.
LoaderOptions base_options(const Settings& settings);

/// One run of a loader, from opening it until the GPU did the last work.
struct Run {
  double seconds = 0, first_batch_seconds = 0;
  std::uint64_t clips = 0, frames = 0;
  std::map<std::string, std::uint64_t> gpu_sessions;
  std::uint64_t clips_from_device = 0;  ///< that never left their GPU
  std::map<std::string, std::uint64_t> clips_by_decoder;
  std::string order;  ///< digest of the clips' identities in the order in which they came
  [[nodiscard]] double clips_per_second() const { return static_cast<double>(clips) / seconds; }
};
/// Feed all batches to a network of `layers` (0 = just take them). `on_batch`, where set, is called
/// behind each one with the clips so far.
Run feed(const LoaderOptions& options, int layers,
         const std::function<void(Loader&, std::uint64_t clips)>& on_batch = {});

/// A stream of the trainer's, that nothing waits for by itself.
class OwnStream {
 public:
  OwnStream();
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  ~OwnStream();
  [[nodiscard]] cudaStream_t get() const noexcept { return stream_; }
  void synchronize() const;

 private:
  cudaStream_t stream_ = nullptr;
};

/// A block of the GPU's memory, by the runtime alone.
class OwnMemory {
 public:
  explicit OwnMemory(std::uint64_t bytes);
  OwnMemory(OwnMemory&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  OwnMemory& operator=(OwnMemory&&) = delete;
  ~OwnMemory();
  [[nodiscard]] void* get() const noexcept { return data_; }

 private:
  void* data_ = nullptr;
};

double median(std::vector<double> values);
/// {"median", "all"}
Json spread(const std::vector<double>& values);
double seconds_of(const std::function<void()>& work);
std::uint32_t cores();
/// "h264-1080p.tar" of a path.
std::string file_name(const std::string& path);

/// Call `measure(which)` for each of `count` contestants, `rounds` times, who take turns in being
/// first.
void take_turns(int rounds, std::size_t count, const std::function<void(std::size_t)>& measure);

}  // namespace shardreel::gpu_bench
