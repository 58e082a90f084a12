// Clips that stay on their lane's GPU until they are in a batch: the batches are those of clips
// that went through host memory, whatever part of them does, and whatever fails on the way.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "loader/decode/placed_decoder.h"
#include "loader/media/device_frame_converter.h"
#include "loader/pipeline/decode_tools.h"
#include "shardreel/loader.h"
#include "shardreel/units.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/fakecuda/kernels.h"
#include "tests/support/fakedriver/fake_driver_control.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"
#include "tests/support/virtual_gpu.h"

namespace shardreel {
namespace {

/// What the virtual GPUs of one run do.
struct Troubles {
  std::uint64_t seed = 0;
  double errors = 0;                  ///< part of the attempts that fail in the middle
  double out_of_memory = 0;           ///< part of those that find no memory, in the middle, too
  bool clips_stay = true;             ///< on the GPU
  bool trainer_wants_memory = false;  ///< again and again
};

/// Decode threads' tools: a virtual decoder on the lane's GPU (of the fake runtime), or the CPU's.
class VirtualToolbox final : public DecodeToolbox {
 public:
  VirtualToolbox(ToolboxContext context, const Troubles& troubles)
      : context_(std::move(context)), troubles_(troubles), random_(troubles.seed) {
    PlacementOptions options;
    options.sessions.first = 4;
    for (const LaneDevice& gpu : context_.gpus)
      placements_.push_back(std::make_unique<Placement>(gpu.device, gpu.governor, options));
  }

  DecodeTools make(std::size_t thread) override {
    const LaneDevice& gpu = context_.gpus[thread % context_.gpus.size()];
    const std::shared_ptr<Stream> stream = gpu.device->make_stream().value();
    DeviceWay way;
    way.reads = stream;
    way.ready = gpu.device->make_event().value();
    way.make = [this, stream, device = gpu.device]() -> Result<SessionDecoder> {
      return SessionDecoder{testing::make_virtual_gpu_decoder(
                                device, stream, [this](const StreamParameters&) { return end(); }),
                            stream};
    };
    auto converter = make_device_frame_converter(gpu.device, stream, &testing::virtual_gpu_layout,
                                                 context_.options.transform, 8)
                         .value();
    PlacedRules rules;
    rules.placed = [&counters = context_.counters](DecodePath path, std::size_t clips) {
      counters.decoded_by[static_cast<std::size_t>(path)] += clips;
    };
    return {make_placed_decoder(*placements_[thread % placements_.size()], std::move(way),
                                make_cpu_decoder(), std::move(rules)),
            std::move(converter), troubles_.clips_stay ? gpu.device : nullptr};
  }

 private:
  std::optional<testing::ScriptedEnd> end() {
    const std::lock_guard lock(mutex_);
    const double chance = std::uniform_real_distribution<>()(random_);
    const std::uint64_t behind = random_() % 12;
    if (chance < troubles_.errors)
      return testing::ScriptedEnd{{.code = ErrorCode::kDecodeError, .message = "not this"}, behind};
    if (chance < troubles_.errors + troubles_.out_of_memory)
      return testing::ScriptedEnd{device_error(DeviceFault::kOutOfMemory, "others"), behind};
    return std::nullopt;
  }

  const ToolboxContext context_;
  const Troubles troubles_;
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Placement>> placements_;
};

struct Seen {
  ClipId id;
  std::uint64_t batch = 0, pixels = 0;
  friend bool operator==(const Seen&, const Seen&) = default;
};
struct Outcome {
  std::vector<std::vector<Seen>> lanes;
  std::uint64_t released = 0;
  Metrics metrics;
};

std::vector<std::vector<ClipId>> ids_of(const Outcome& outcome) {
  std::vector<std::vector<ClipId>> lanes;
  for (const auto& lane : outcome.lanes) {
    lanes.emplace_back();
    for (const Seen& seen : lane) lanes.back().push_back(seen.id);
  }
  return lanes;
}

class GpuClips : public ::testing::Test {
 protected:
  void SetUp() override {
    fakecuda::configure({2, 1_GiB, 50});
    fakecuda::set_kernels();
    shards_.emplace(testing::make_numbered_shards(dir_, 4, 12));
    driver_.emplace(SHARDREEL_FAKE_DRIVER, testing::FakeDriver::Decoder::kThere);
  }
  void TearDown() override {
    replace_decode_toolbox(nullptr);
    EXPECT_THAT(fakecuda::take_misuse(), ::testing::IsEmpty());
    EXPECT_EQ(fakecuda::live(), 0U) << "something of the runtime was left over";
  }

  [[nodiscard]] LoaderOptions options(std::size_t lanes) const {
    LoaderOptions options = testing::small_options(shards_->paths);
    options.batch.ranks = RankMode::kExact;
    options.batch.drop_last = true;
    options.resource.devices.clear();
    for (std::size_t i = 0; i < lanes; ++i)
      options.resource.devices.push_back("cuda:" + std::to_string(i));
    options.resource.memory_bytes = std::to_string(32 + 24 * lanes) + "MiB";
    options.resource.shuffle_bytes = std::to_string(512 * lanes) + "KiB";
    options.resource.min_fill = 6;
    options.resource.decode = DecodeDevice::kCuda;
    options.resource.gpu_memory_bytes = "90%";
    options.resource.gpu_memory_reserve = "0";
    return options;
  }

  /// An epoch of every lane.
  static Outcome run(const LoaderOptions& options, const Troubles& troubles) {
    replace_decode_toolbox([&troubles](ToolboxContext context) {
      return std::make_unique<VirtualToolbox>(std::move(context), troubles);
    });
    Outcome outcome;
    Loader loader = Loader::open(options);
    outcome.lanes.resize(loader.lanes());
    std::atomic<bool> over{false};
    std::jthread trainer;
    if (troubles.trainer_wants_memory) {
      trainer = std::jthread([&] {
        while (!over) {
          outcome.released += loader.release_gpu();
          std::this_thread::yield();
        }
      });
    }
    std::vector<std::jthread> consumers;
    for (std::size_t lane = 0; lane < loader.lanes(); ++lane)
      consumers.emplace_back([&, lane] { outcome.lanes[lane] = take_epoch(loader, lane); });
    consumers.clear();
    over = true;
    if (trainer.joinable()) trainer.join();
    loader.stop();
    outcome.metrics = loader.metrics();
    testing::expect_conserved(outcome.metrics);
    // Pinned blocks of batches and of lanes stay until the loader goes.
    for (const auto& [tag, use] : outcome.metrics.ledger) {
      if (tag != "batch" && tag != "pinned") {
        EXPECT_EQ(use.now, 0U) << tag;
      }
    }
    return outcome;
  }

  static std::vector<Seen> take_epoch(Loader& loader, std::size_t lane) {
    std::vector<Seen> seen;
    while (const auto batch = loader.next(lane)) {
      std::vector<std::byte> pixels(batch->size_bytes());
      batch->copy_to_host(pixels);
      const std::size_t part = pixels.size() / batch->size();
      for (std::size_t i = 0; i < batch->size(); ++i) {
        const auto clip = std::span<const std::byte>(pixels).subspan(i * part, part);
        if (loader.options().transform.dtype == DType::kUint8) {
          EXPECT_EQ(testing::check_numbered_pixels(batch->clips[i], clip), "");
        }
        seen.push_back({batch->clips[i].id, batch->index, XXH3_64bits(clip.data(), clip.size())});
      }
    }
    return seen;
  }

  testing::ScratchDir dir_;
  std::optional<testing::NumberedShards> shards_;
  std::optional<testing::FakeDriver> driver_;
};

TEST_F(GpuClips, BatchesAreThoseOfClipsThatWentThroughTheHost) {
  for (const ShuffleDomain domain : {ShuffleDomain::kFrames, ShuffleDomain::kPackets}) {
    for (const DType dtype : {DType::kUint8, DType::kFloat16}) {
      LoaderOptions asked = options(2);
      asked.resource.shuffle_domain = domain;
      asked.transform.dtype = dtype;
      const Outcome through_host = run(asked, {.clips_stay = false});
      const Outcome on_gpus = run(asked, {});
      EXPECT_EQ(on_gpus.lanes, through_host.lanes);
      EXPECT_GT(on_gpus.metrics.clips, 20U);
      EXPECT_EQ(through_host.metrics.clips_from_device, 0U);
      // Others go to the CPU while the first video of a kind is tried, and with another GPU's
      // thread.
      EXPECT_GT(on_gpus.metrics.clips_from_device, 0U);
    }
  }
}

// Clips that wait in the shuffle come down when the trainer wants their memory, and are in the
// batches all the same.
TEST_F(GpuClips, WhatTheTrainerTakesBackIsInTheBatchesAllTheSame) {
  LoaderOptions asked = options(1);
  asked.resource.min_fill = 40;
  const auto want = ids_of(run(asked, {}));
  replace_decode_toolbox([](ToolboxContext context) {
    return std::make_unique<VirtualToolbox>(std::move(context), Troubles{});
  });
  Loader loader = Loader::open(asked);
  ASSERT_TRUE(loader.wait(std::chrono::seconds(60)));
  const std::uint64_t released = loader.release_gpu();
  EXPECT_GT(released, 20 * std::uint64_t{8 * 64 * 48}) << "clips of the shuffle, at least";
  Outcome got;
  got.lanes.push_back(take_epoch(loader, 0));  // which looks at what the pictures show
  EXPECT_EQ(ids_of(got), want);
  loader.stop();
  EXPECT_LT(loader.metrics().clips_from_device, loader.metrics().clips);
}

// Units that fail in the middle leave clips of which the CPU makes the rest.
TEST_F(GpuClips, WhateverFailsInTheMiddleTheClipsAreTheSame) {
  std::mt19937_64 random(testing::test_seed());
  LoaderOptions asked = options(2);
  asked.window.window_stride = 5;  // windows that overlap: frames go to several clips
  const auto want = ids_of(run(asked, {}));
  for (std::uint64_t round = 0; round < testing::rounds(100); ++round) {
    Troubles troubles;
    troubles.seed = random();
    troubles.errors = 0.3;
    troubles.out_of_memory = round % 2 == 0 ? 0 : 0.2;
    troubles.trainer_wants_memory = round % 3 == 0;
    asked.resource.decode_threads = 1 + random() % 4;
    ASSERT_EQ(ids_of(run(asked, troubles)), want) << "schedule " << troubles.seed;
  }
}

// The way that FFmpeg's own decoders go.
TEST_F(GpuClips, ALoaderOnADriverKeepsItsClipsThere) {
  const LoaderOptions asked = options(1);
  Loader loader = Loader::open(asked);
  std::uint64_t clips = 0;
  while (const auto batch = loader.next()) clips += batch->size();
  loader.stop();
  const Metrics metrics = loader.metrics();
  EXPECT_EQ(clips, metrics.clips);
  EXPECT_GT(metrics.clips_by_decoder.at("device"), 0U);
  EXPECT_GT(metrics.clips_from_device, 0U);
}

TEST_F(GpuClips, StopsAtAnyMomentLeaveNothingBehind) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(100); ++round) {
    replace_decode_toolbox([](ToolboxContext context) {
      return std::make_unique<VirtualToolbox>(std::move(context), Troubles{});
    });
    LoaderOptions asked = options(1 + random() % 2);
    asked.batch.epochs = 0;
    Loader loader = Loader::open(asked);
    for (std::uint64_t batches = random() % 8; batches > 0; --batches) {
      const auto batch = loader.next(random() % loader.lanes());
    }
    loader.stop();
    const Metrics metrics = loader.metrics();
    testing::expect_conserved(metrics);
  }
}

}  // namespace
}  // namespace shardreel
