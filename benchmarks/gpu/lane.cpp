// A lane's way up to its GPU, over a loop that does nothing but copy pinned memory of the same
// sizes; and how much of it is hidden when the GPU works at the same time.
#include "benchmarks/gpu/gpu_bench.h"
#include "benchmarks/gpu/network.h"
#include "loader/device/batch_uploads.h"
#include "loader/device/cuda/cuda_device.h"
#include "loader/device/device_registry.h"

namespace shardreel::gpu_bench {
namespace {

constexpr std::size_t kBuffers = 4;  // prefetch_batches + held_batches

/// The lane's own code, with a consumer whose stream takes every batch and, where `network` is set,
/// works on it.
void lane_loop(Device& device, BatchUploads& uploads, std::uint64_t bytes, int batches,
               Stream& consumer, Network* network) {
  for (int i = 0; i < batches; ++i) {
    auto block = uploads.staging({}).value();
    auto batch = uploads.take();
    if (!batch) throw std::runtime_error("no place for a batch on " + device.id().to_string());
    uploads.upload(std::move(block), bytes, *batch).value();
    consumer.wait(batch->ready()).value();
    if (network != nullptr) network->run(batch->data(), bytes);
    batch->used_by(consumer).value();
  }
  consumer.synchronize().value();
}

/// The same copies and nothing else.
class BareCopies {
 public:
  explicit BareCopies(std::uint64_t bytes) : bytes_(bytes) {
    for (std::size_t i = 0; i < kBuffers; ++i) to_.emplace_back(bytes);
    for (std::size_t i = 0; i < BatchUploads::kStagingBlocks; ++i) {
      check(cudaHostAlloc(&from_[i], bytes, cudaHostAllocDefault), "pinning memory");
      check(cudaEventCreateWithFlags(&copied_[i], cudaEventDisableTiming), "making an event");
    }
  }
  BareCopies(const BareCopies&) = delete;
  BareCopies& operator=(const BareCopies&) = delete;
  ~BareCopies() {
    for (std::size_t i = 0; i < BatchUploads::kStagingBlocks; ++i) {
      static_cast<void>(cudaEventDestroy(copied_[i]));
      static_cast<void>(cudaFreeHost(from_[i]));
    }
  }
  void run(int batches) {
    for (int i = 0; i < batches; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const std::size_t block = at % BatchUploads::kStagingBlocks;
      check(cudaEventSynchronize(copied_[block]), "waiting for a copy");
      check(cudaMemcpyAsync(to_[at % kBuffers].get(), from_[block], bytes_, cudaMemcpyHostToDevice,
                            stream_.get()),
            "copying");
      check(cudaEventRecord(copied_[block], stream_.get()), "recording an event");
    }
    stream_.synchronize();
  }

 private:
  const std::uint64_t bytes_;
  const OwnStream stream_;
  std::vector<OwnMemory> to_;
  void* from_[BatchUploads::kStagingBlocks] = {};
  cudaEvent_t copied_[BatchUploads::kStagingBlocks] = {};
};

/// Copies alone, work alone, both at once: how much of the shorter one is hidden by the longer.
Json measure_overlap(Device& device, BatchUploads& uploads, std::uint64_t bytes, int batches,
                     Stream& consumer, const Settings& settings) {
  auto* native = static_cast<cudaStream_t>(cuda::native_stream(consumer));
  Network network(native, settings.layers, bytes);
  const OwnMemory still(bytes);
  std::vector<double> copies, work, both, hidden;
  const auto measure = [&](std::size_t which) {
    if (which == 0) {
      copies.push_back(
          seconds_of([&] { lane_loop(device, uploads, bytes, batches, consumer, nullptr); }));
    } else if (which == 1) {
      work.push_back(seconds_of([&] {
        for (int i = 0; i < batches; ++i) network.run(still.get(), bytes);
        consumer.synchronize().value();
      }));
    } else {
      both.push_back(
          seconds_of([&] { lane_loop(device, uploads, bytes, batches, consumer, &network); }));
    }
  };
  lane_loop(device, uploads, bytes, 1, consumer, &network);
  take_turns(settings.rounds, 3, measure);
  for (std::size_t i = 0; i < both.size(); ++i)
    hidden.push_back((copies[i] + work[i] - both[i]) / std::min(copies[i], work[i]));
  return {{"layers", settings.layers},
          {"copies_seconds", spread(copies)},
          {"work_seconds", spread(work)},
          {"both_seconds", spread(both)},
          {"hidden_part_of_the_shorter", spread(hidden)}};
}

}  // namespace

Json measure_lane(const Settings& settings) {
  const auto device = open_device({DeviceKind::kCuda, 0}).value();
  const auto consumer = device->make_stream().value();
  const std::uint64_t clip = std::uint64_t{16} * 224 * 224 * 3;
  Json result;
  result["rounds"] = settings.rounds;
  result["sizes"] = Json::array();
  // A clip, a batch of 8 as bytes, and as float16.
  for (const std::uint64_t bytes : {clip, 8 * clip, 16 * clip}) {
    const auto batches = static_cast<int>(std::max<std::uint64_t>(4, settings.copy_bytes / bytes));
    const auto uploads = BatchUploads::make(device, bytes, kBuffers).value();
    BareCopies bare(bytes);
    std::vector<double> of_lane, of_bare, ratios;
    const double moved = static_cast<double>(bytes) * batches;
    const auto measure = [&](std::size_t which) {
      if (which == 0) {
        of_bare.push_back(moved / seconds_of([&] { bare.run(batches); }));
      } else {
        of_lane.push_back(moved / seconds_of([&] {
                            lane_loop(*device, *uploads, bytes, batches, *consumer, nullptr);
                          }));
      }
    };
    measure(0);
    measure(1);
    of_bare.clear();
    of_lane.clear();
    take_turns(settings.rounds, 2, measure);
    for (std::size_t i = 0; i < of_lane.size(); ++i) ratios.push_back(of_lane[i] / of_bare[i]);
    Json row = {{"bytes", bytes},
                {"batches", batches},
                {"bare_bytes_per_second", spread(of_bare)},
                {"lane_bytes_per_second", spread(of_lane)},
                {"lane_over_bare", spread(ratios)}};
    if (bytes == 8 * clip)
      row["overlap"] = measure_overlap(*device, *uploads, bytes, batches, *consumer, settings);
    result["sizes"].push_back(std::move(row));
  }
  return result;
}

}  // namespace shardreel::gpu_bench
