// Lanes whose batches land on GPUs: the whole loader on the CUDA device's own code, over the fake
// runtime. What a consumer reads there through a stream of its own is what CPU lanes give.
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <atomic>
#include <optional>
#include <random>
#include <thread>

#include "loader/pipeline/lane_device.h"
#include "shardreel/loader.h"
#include "shardreel/units.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/fakecuda/fakecuda.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kBatchBytes = std::uint64_t{4} * 8 * 64 * 48;

struct Seen {
  ClipId id;
  std::uint64_t batch = 0, pixels = 0;
  friend bool operator==(const Seen&, const Seen&) = default;
};

void check(cudaError_t code) { ASSERT_EQ(code, cudaSuccess) << cudaGetErrorName(code); }

/// A trainer's side of one lane: it reads batches on its own stream, and lets them go before the
/// stream has come to them.
class Trainer {
 public:
  explicit Trainer(int device) : device_(device) {
    check(cudaSetDevice(device_));
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;
  ~Trainer() {
    check(cudaStreamSynchronize(stream_));
    check(cudaStreamDestroy(stream_));
    if (host_ != nullptr) check(cudaFreeHost(host_));
  }

  void take(std::optional<Batch> batch, std::vector<Seen>& seen) {
    EXPECT_EQ(batch->device(), "cuda:" + std::to_string(device_));
    EXPECT_FALSE(batch->on_host());
    const std::size_t bytes = batch->size_bytes(), clips = batch->size();
    if (host_ == nullptr) check(cudaHostAlloc(&host_, bytes, cudaHostAllocDefault));
    batch->use_on(stream_);
    check(cudaMemcpyAsync(host_, batch->data(), bytes, cudaMemcpyDeviceToHost, stream_));
    std::vector<ClipInfo> infos = std::move(batch->clips);
    const std::uint64_t index = batch->index;
    batch.reset();
    check(cudaStreamSynchronize(stream_));
    for (std::size_t i = 0; i < clips; ++i) {
      const auto* clip = static_cast<const std::byte*>(host_) + i * (bytes / clips);
      seen.push_back({infos[i].id, index, XXH3_64bits(clip, bytes / clips)});
    }
  }

  std::vector<Seen> take_epoch(Loader& loader, std::size_t lane) {
    std::vector<Seen> seen;
    while (auto batch = loader.next(lane)) take(std::move(batch), seen);
    return seen;
  }

 private:
  const int device_;
  cudaStream_t stream_ = nullptr;
  void* host_ = nullptr;
};

std::vector<Seen> take_epoch_on_host(Loader& loader, std::size_t lane) {
  std::vector<Seen> seen;
  while (auto batch = loader.next(lane)) {
    for (std::size_t i = 0; i < batch->size(); ++i) {
      const auto clip = batch->clip_bytes(i);
      seen.push_back({batch->clips[i].id, batch->index, XXH3_64bits(clip.data(), clip.size())});
    }
  }
  return seen;
}

class GpuLanes : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new testing::ScratchDir();
    // At least one a lane.
    shards_ = new testing::NumberedShards(testing::make_numbered_shards(*dir_, 9, 27));
  }
  static void TearDownTestSuite() {
    delete shards_;
    delete dir_;
  }
  void SetUp() override { fakecuda::configure({8, 1_GiB, 200}); }
  void TearDown() override {
    EXPECT_THAT(fakecuda::take_misuse(), ::testing::IsEmpty());
    EXPECT_EQ(fakecuda::live(), 0U) << "something of the runtime was left over";
  }

  static LoaderOptions options(std::string_view kind, std::size_t lanes) {
    LoaderOptions options = testing::small_options(shards_->paths);
    options.batch.ranks = RankMode::kExact;
    options.batch.drop_last = true;
    options.resource.devices.clear();
    for (std::size_t i = 0; i < lanes; ++i)
      options.resource.devices.push_back(std::string(kind) + ":" + std::to_string(i));
    options.resource.memory_bytes = std::to_string(32 + 24 * lanes) + "MiB";
    options.resource.shuffle_bytes = std::to_string(256 * lanes) + "KiB";
    options.resource.min_fill = 6;
    options.resource.gpu_memory_reserve = "64MiB";
    return options;
  }

  static inline testing::ScratchDir* dir_ = nullptr;
  static inline testing::NumberedShards* shards_ = nullptr;
};

TEST_F(GpuLanes, GiveTheBatchesOfCpuLanes) {
  for (const DType dtype : {DType::kUint8, DType::kFloat16}) {
    for (const std::size_t lanes : {1U, 2U, 4U, 8U}) {
      std::vector<std::vector<Seen>> on_host(lanes), on_gpus(lanes);
      for (const bool gpus : {false, true}) {
        LoaderOptions asked = options(gpus ? "cuda" : "cpu", lanes);
        asked.transform.dtype = dtype;
        asked.batch.ranks = RankMode::kEqual;
        asked.batch.batches_per_epoch = 5;
        Loader loader = Loader::open(asked);
        std::vector<std::jthread> consumers;
        for (std::size_t i = 0; i < lanes; ++i) {
          consumers.emplace_back([&, i] {
            if (gpus) {
              on_gpus[i] = Trainer(static_cast<int>(i)).take_epoch(loader, i);
            } else {
              on_host[i] = take_epoch_on_host(loader, i);
            }
          });
        }
      }
      EXPECT_EQ(on_gpus, on_host) << lanes << " lanes";
      for (const auto& lane : on_gpus) EXPECT_EQ(lane.size(), 20U);
    }
  }
}

TEST_F(GpuLanes, OneThatStandsStillHoldsNobodyUp) {
  Loader loader = Loader::open(options("cuda", 4));
  std::atomic<std::size_t> clips{0};
  {
    std::vector<std::jthread> consumers;
    for (int i = 1; i < 4; ++i)
      consumers.emplace_back(
          [&, i] { clips += Trainer(i).take_epoch(loader, static_cast<std::size_t>(i)).size(); });
  }
  const std::size_t others = clips;
  EXPECT_GT(others, 0U);
  clips += Trainer(0).take_epoch(loader, 0).size();
  EXPECT_GT(clips, others) << "and its own batches are all there";
}

TEST_F(GpuLanes, ACopyToTheHostNeedsNoStream) {
  Loader on_gpu = Loader::open(options("cuda", 1)), on_host = Loader::open(options("cpu", 1));
  const auto batch = on_gpu.next(), same = on_host.next();
  std::vector<std::byte> copy(batch->size_bytes()), want(same->size_bytes());
  batch->copy_to_host(copy);
  same->copy_to_host(want);
  EXPECT_EQ(copy, want);
  EXPECT_THROW(batch->copy_to_host(std::span(copy).first(10)), ShardreelError);
}

// Batches outlive the loader, and give their memory back then.
TEST_F(GpuLanes, AConsumerThatKeepsAllGetsMoreUntilTheBudgetEnds) {
  const LoaderOptions asked = options("cuda", 1);
  LoaderOptions tight = asked;
  tight.batch.epochs = 0;
  tight.resource.gpu_memory_bytes = std::to_string(6 * kBatchBytes + kBatchBytes / 2);
  std::vector<Batch> kept;
  std::string why;
  std::vector<std::string> warnings;
  {
    Loader loader = Loader::open(tight, [&](LogLevel level, std::string_view line) {
      if (level == LogLevel::kWarning) warnings.emplace_back(line);
    });
    try {
      for (;;) {
        if (auto batch = loader.next()) kept.push_back(std::move(*batch));
      }
    } catch (const ShardreelError& error) {
      EXPECT_EQ(error.error().code, ErrorCode::kMemory);
      why = error.what();
    }
    loader.stop();  // nobody says anything any more
    EXPECT_EQ(kept.size(), 6U) << "4 planned, 2 beyond";
    EXPECT_THAT(why, ::testing::HasSubstr("keeps all batches of cuda:0"));
    EXPECT_THAT(why, ::testing::HasSubstr("gpu_memory_bytes"));
    EXPECT_THAT(warnings, ::testing::Contains(::testing::HasSubstr("held_batches = 2")));
    // In host memory there are the pinned blocks, however many batches are held.
    for (const auto& [tag, use] : loader.metrics().ledger) {
      if (tag == "batch") {
        EXPECT_EQ(use.now, 2 * kBatchBytes);
      } else if (tag == "held") {
        EXPECT_EQ(use.peak, 0U);
      }
    }
  }
  EXPECT_GT(fakecuda::live(), 0U);
  std::vector<std::byte> copy(kept.back().size_bytes());
  kept.back().copy_to_host(copy);
  kept.clear();
}

TEST_F(GpuLanes, WhatThePoolKeepsIsGivenBackWhileBatchesAreTaken) {
  LoaderOptions asked = options("cuda", 2);
  asked.batch.epochs = 0;
  Loader loader = Loader::open(asked);
  {
    // The pool keeps the blocks of those beyond the plan.
    std::vector<Batch> more_than_planned;
    while (more_than_planned.size() < 7) {
      if (auto batch = loader.next(0)) more_than_planned.push_back(std::move(*batch));
    }
  }
  std::atomic<std::uint64_t> came{0};
  {
    std::jthread releases([&](const std::stop_token& stop) {
      while (!stop.stop_requested()) came += loader.release_gpu();
    });
    for (int i = 0; i < 40; ++i) loader.next(static_cast<std::size_t>(i % 2));
  }
  loader.stop();
  // Blocks are free once the stream that used them has come to that.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (came < kBatchBytes && std::chrono::steady_clock::now() < deadline)
    came += loader.release_gpu();
  EXPECT_GE(came, kBatchBytes);
  EXPECT_EQ(Loader::open(options("cpu", 1)).release_gpu(), 0U);
}

// The trainer takes memory back while it holds all batches: the next one comes later, and the run
// goes on.
TEST_F(GpuLanes, AConsumerThatKeepsAllWaitsWhileNothingIsGranted) {
  LoaderOptions asked = options("cuda", 1);
  asked.batch.epochs = 0;
  Loader loader = Loader::open(asked);
  std::vector<Batch> kept;
  while (kept.size() < 4) {
    if (auto batch = loader.next()) kept.push_back(std::move(*batch));
  }
  loader.release_gpu();
  while (kept.size() < 6) {
    if (auto batch = loader.next()) kept.push_back(std::move(*batch));
  }
  // And stopping does not wait for it.
  loader.release_gpu();
  const auto began = std::chrono::steady_clock::now();
  loader.stop();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
}

TEST_F(GpuLanes, NoRoomIsSaidAtTheStartWithFigures) {
  LoaderOptions asked = options("cuda", 1);
  const auto refused = [&](const LoaderOptions& with) -> std::string {
    try {
      Loader::open(with);
    } catch (const ShardreelError& error) {
      EXPECT_EQ(error.error().code, ErrorCode::kMemory);
      return error.what();
    }
    return "nothing refused it";
  };
  asked.resource.gpu_memory_bytes = "100KiB";
  EXPECT_THAT(refused(asked), ::testing::AllOf(::testing::HasSubstr("cuda:0 has no room"),
                                               ::testing::HasSubstr("gpu_memory_bytes")));
  asked.resource.gpu_memory_bytes = "8%";
  asked.resource.gpu_memory_reserve = "100%";
  EXPECT_THAT(refused(asked), ::testing::HasSubstr("gpu_memory_reserve"));
  asked.resource.gpu_memory_reserve = "0";
  for (std::uint64_t nth = 1; nth <= 6; ++nth) {  // two pinned blocks, four on the device
    fakecuda::fail_allocation(nth);
    EXPECT_THAT(refused(asked), ::testing::HasSubstr("cuda:0")) << nth;
    EXPECT_EQ(fakecuda::live(), 0U) << nth;
  }
  fakecuda::fail_allocation(0);
}

TEST_F(GpuLanes, ADeviceThatFailsEndsTheRunWithItsName) {
  Loader loader = Loader::open(options("cuda", 1));
  EXPECT_TRUE(loader.next());
  fakecuda::fail_everything(cudaErrorECCUncorrectable);
  std::string why = "it went on";
  try {
    while (loader.next()) {
    }
  } catch (const ShardreelError& error) {
    why = error.what();
  }
  EXPECT_THAT(why, ::testing::HasSubstr("cuda:0"));
  loader.stop();
  fakecuda::fail_everything(cudaSuccess);
}

TEST_F(GpuLanes, StopsAtAnyMomentLeaveNothingBehind) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(1000); ++round) {
    const std::size_t lanes = 1 + random() % 6;
    LoaderOptions asked = options("cuda", lanes);
    asked.batch.epochs = 0;
    Loader loader = Loader::open(asked);
    std::vector<std::jthread> consumers;
    for (std::size_t i = 0; i < lanes; ++i) {
      consumers.emplace_back([&loader, i] {
        try {
          Trainer trainer(static_cast<int>(i));
          for (;;) trainer.take_epoch(loader, i);
        } catch (const ShardreelError& error) {
          EXPECT_EQ(error.error().code, ErrorCode::kStopped) << error.what();
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 20000));
    loader.stop();
    consumers.clear();
    const Metrics metrics = loader.metrics();
    testing::expect_conserved(metrics);
    // Pinned blocks stay until the loader goes.
    const std::map<std::string, std::uint64_t> stays = {{"batch", lanes * 2 * kBatchBytes},
                                                        {"pinned", lanes * kBatchBytes / 4}};
    for (const auto& [tag, use] : metrics.ledger)
      EXPECT_EQ(use.now, stays.contains(tag) ? stays.at(tag) : 0) << tag;
  }
}

TEST_F(GpuLanes, AutoTakesTheGpuOfTheLocalRankAndSaysSo) {
  LoaderOptions asked = options("cuda", 1);
  asked.resource.devices = {"auto"};
  std::vector<std::string> said;
  Loader loader =
      Loader::open(asked, [&](LogLevel, std::string_view line) { said.emplace_back(line); });
  EXPECT_EQ(loader.options().resource.devices, std::vector<std::string>{"cuda:0"});
  EXPECT_EQ(loader.next()->device(), "cuda:0");
  loader.stop();  // nobody says anything any more
  EXPECT_THAT(said, ::testing::Contains(::testing::HasSubstr("devices = auto is cuda:0")));
}

TEST_F(GpuLanes, ARunGoesOnWhereThereIsNoGpuAndBack) {
  const auto rest_of = [](Loader loader) {
    std::vector<ClipId> ids;
    while (const auto batch = loader.next()) {
      for (const ClipInfo& clip : batch->clips) ids.push_back(clip.id);
    }
    return ids;
  };
  std::vector<ClipId> rests[2];
  for (const bool back : {false, true}) {
    Loader first = Loader::open(options(back ? "cpu" : "cuda", 1));
    ASSERT_TRUE(first.next());
    Loader second = Loader::open(options(back ? "cuda" : "cpu", 1), first.state_dict());
    // What was decided stays: nobody's pixels change to a GPU's in the middle of a run.
    EXPECT_EQ(first.options().resource.decode, back ? DecodeDevice::kCpu : DecodeDevice::kAuto);
    EXPECT_EQ(second.options().resource.decode, DecodeDevice::kCpu);
    rests[back ? 1 : 0] = rest_of(std::move(second));
    EXPECT_EQ(rests[back ? 1 : 0], rest_of(std::move(first)));
  }
  EXPECT_EQ(rests[0], rests[1]);
}

TEST_F(GpuLanes, OptionsNameDevicesThatAreThere) {
  LoaderOptions asked = options("cuda", 1);
  EXPECT_THAT(asked.validate(), ::testing::IsEmpty());
  asked.resource.devices = {"cuda:8"};
  EXPECT_THAT(asked.validate(), ::testing::ElementsAre(::testing::HasSubstr("cuda:0 to cuda:7")));
  asked.resource.devices = {"cuda:0", "cpu:0"};
  EXPECT_THAT(asked.validate(), ::testing::ElementsAre(::testing::HasSubstr("one kind")));
}

TEST_F(GpuLanes, ThePlanSaysWhatEachGpuHolds) {
  const auto report = plan(options("cuda", 2)).value();
  EXPECT_EQ(report.gpu_rows[0].share, "batches");
  EXPECT_EQ(report.gpu_rows[0].bytes, 4 * report.batch_bytes);
  EXPECT_THAT(report.table(), ::testing::HasSubstr("each GPU, of gpu_memory_bytes 8%"));
  EXPECT_EQ(report.rows[0].share, "batches");
  EXPECT_EQ(report.rows[0].bytes, 2 * 2 * report.batch_bytes) << "two pinned ones a lane";
  // A plan is made where the GPUs are not, too.
  fakecuda::fail_everything(cudaErrorNoDevice);
  EXPECT_EQ(plan(options("cuda", 2)).value().to_json(), report.to_json());
  EXPECT_THROW(Loader::open(options("cuda", 2)), ShardreelError);
  fakecuda::fail_everything(cudaSuccess);
}

}  // namespace
}  // namespace shardreel
