// The GPU's benchmarks, over the fake runtime and a fake driver under FFmpeg's own CUDA code: every
// question runs through and its answer says what it should. The figures mean nothing.
#include "benchmarks/gpu/gpu_bench.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

#include "benchmarks/gpu/network.h"
#include "shardreel/shard_writer.h"
#include "shardreel/units.h"
#include "tests/support/fakecuda/fakecuda.h"
#include "tests/support/fakecuda/kernels.h"
#include "tests/support/fakedriver/fake_driver_control.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"

namespace shardreel::gpu_bench {
namespace {

constexpr int kVideos = 3, kFrames = 48;
constexpr std::uint64_t kClips = kVideos * kFrames / 16;

std::atomic<int> network_launches{0};

/// The network's values are looked at on a GPU only (gpu_test).
fakecuda::KernelBody counted() {
  return [](dim3, dim3, void**) { return [] { ++network_launches; }; };
}

class GpuBench : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new testing::ScratchDir();
    driver_ = new testing::FakeDriver(SHARDREEL_FAKE_DRIVER);
    auto writer = ShardWriter::create({.directory = dir_->path().string()}).value();
    for (int i = 0; i < kVideos; ++i) {
      const auto clip = testing::make_test_clip(
          "-c:v libx264 -g " + std::to_string(16 + i) + " -bf 2 -pix_fmt yuv420p", kFrames, "mp4",
          "64x48");
      const std::vector<FieldToWrite> fields{{"mp4", testing::file_content(clip)}};
      writer.write("v" + std::to_string(i), fields).value();
    }
    shard_ = new std::string(writer.finish().value().front().path);
  }
  static void TearDownTestSuite() {
    delete shard_;
    delete driver_;
    delete dir_;
  }
  void SetUp() override {
    fakecuda::configure({1, 1_GiB, 20});
    fakecuda::set_kernels();
    fakecuda::set_kernel("_ZN9shardreel9gpu_bench11widen_bytesEPKhPfm", counted());
    fakecuda::set_kernel("_ZN9shardreel9gpu_bench11dense_layerEPKfS2_Pfi", counted());
    network_launches = 0;
    settings_.shards = {*shard_};
    settings_.rounds = 1;
    settings_.layers = 2;
    settings_.cpu_threads = 1;
    settings_.gpu_threads = 2;
    settings_.copy_bytes = 1_MiB;
    settings_.repeats = 1;
    settings_.gpu_memory_bytes = "90%";
    settings_.gpu_memory_reserve = "128MiB";
  }
  void TearDown() override {
    EXPECT_THAT(fakecuda::take_misuse(), ::testing::IsEmpty());
    EXPECT_EQ(fakecuda::live(), 0U) << "something of the runtime was left over";
    EXPECT_EQ(driver_->sessions_live(), 0);
  }

  /// The report has a row for the answer; returns the table.
  static std::string report_of(const std::string& question, const Json& answer) {
    const testing::ScratchDir work;
    std::ofstream(work / (question + ".json")) << answer;
    const std::string command = "python3 " SHARDREEL_SOURCE_DIR "/benchmarks/gpu/report.py ";
    std::string text =
        testing::run_command(command + work.path().string() + " --out " + (work / "out"));
    EXPECT_THAT(text,
                ::testing::Not(::testing::HasSubstr("| " + question + " |  | not asked for")));
    EXPECT_THAT(text, ::testing::HasSubstr("| " + question + " | "));
    return text;
  }
  static std::uint64_t sum_of(const Json& counts) {
    std::uint64_t sum = 0;
    for (const auto& [word, count] : counts.items()) sum += count.get<std::uint64_t>();
    return sum;
  }
  static void expect_spread(const Json& value, std::size_t rounds = 1) {
    ASSERT_EQ(value.at("all").size(), rounds) << value;
    EXPECT_GT(value.at("median").get<double>(), 0);
  }

  static inline testing::ScratchDir* dir_ = nullptr;
  static inline testing::FakeDriver* driver_ = nullptr;
  static inline std::string* shard_ = nullptr;
  Settings settings_;
};

TEST_F(GpuBench, SaysWhatItRunsOn) {
  const Json device = describe_device();
  EXPECT_THAT(device.at("device").get<std::string>(), ::testing::HasSubstr("Fake GPU"));
  EXPECT_EQ(device.at("cuda_of_driver"), device.at("cuda_runtime"));
  fakecuda::fail_everything(cudaErrorNoDevice);
  EXPECT_THROW(describe_device(), std::runtime_error);
  fakecuda::fail_everything(cudaSuccess);
}

TEST_F(GpuBench, TheClaimFeedsTheSameClipsBothWays) {
  settings_.rounds = 2;
  const Json result = measure_claim(settings_);
  const Json& video = result.at("videos").at(0);
  expect_spread(video.at("cpu_seconds"), 2);
  expect_spread(video.at("gpu_seconds"), 2);
  expect_spread(video.at("cpu_over_gpu"), 2);
  EXPECT_EQ(video.at("frames"), kVideos * kFrames);
  EXPECT_TRUE(video.at("same_order").get<bool>());
  EXPECT_GT(video.at("clips_by_decoder").at("device"), 0);
  EXPECT_GT(video.at("clips_from_device"), 0);
  // Six runs of two batches: bytes widened, and two layers.
  EXPECT_EQ(network_launches, 6 * 2 * 3);
  // 196 rows of 768 bytes a frame, 768 products and sums for each of 768 values.
  EXPECT_EQ(result.at("network").at("flops_per_frame"), 2.0 * 196 * 768 * 768 * 2);
  EXPECT_THAT(report_of("claim", result), ::testing::HasSubstr("144 frames of 1080p, 0.5 GFLOP"));
}

TEST_F(GpuBench, NvdecDecodesEveryFrameBare) {
  const Json result = measure_nvdec(settings_);
  const Json& shard = result.at("shards").at(0);
  ASSERT_EQ(shard.at("sessions").size(), 2U) << "one and two of them";
  for (const Json& row : shard.at("sessions")) {
    expect_spread(row.at("bare_clips_per_second"));
    expect_spread(row.at("loader_clips_per_second"));
  }
  EXPECT_GT(shard.at("best_loader_over_best_bare"), 0);
  EXPECT_EQ(sum_of(shard.at("clips_by_decoder")), kClips);
  EXPECT_THAT(report_of("nvdec", result), ::testing::HasSubstr("sessions made"));
}

TEST_F(GpuBench, BareDecodingDoesNotPassSoftwareOffAsTheGpu) {
  driver_->set_sessions(0);
  EXPECT_THROW(measure_nvdec(settings_), std::runtime_error);
  driver_->set_sessions(32);
}

TEST_F(GpuBench, TheLaneIsBesideABareLoopAndBesideWork) {
  const Json result = measure_lane(settings_);
  ASSERT_EQ(result.at("sizes").size(), 3U);
  for (const Json& row : result.at("sizes")) {
    expect_spread(row.at("bare_bytes_per_second"));
    expect_spread(row.at("lane_bytes_per_second"));
    expect_spread(row.at("lane_over_bare"));
  }
  const Json& overlap = result.at("sizes").at(1).at("overlap");
  expect_spread(overlap.at("both_seconds"));
  EXPECT_GT(network_launches, 0);
  EXPECT_THAT(report_of("lane", result), ::testing::HasSubstr("| 19.3 MB, GPU at work |"));
}

TEST_F(GpuBench, TheKernelIsBesideACopy) {
  const Json result = measure_kernel(settings_);
  ASSERT_EQ(result.at("frames").size(), 4U);
  for (const Json& row : result.at("frames")) {
    expect_spread(row.at("kernel_bytes_per_second"));
    expect_spread(row.at("kernel_over_copy"));
  }
  EXPECT_THAT(report_of("kernel", result), ::testing::HasSubstr("p010le 1920x1080 to 224x224"));
}

TEST_F(GpuBench, BothDecodeWhatEachDecodesAlone) {
  const Json result = measure_hybrid(settings_);
  for (const char* who : {"gpu", "cpu", "both"})
    expect_spread(result.at(std::string(who) + "_clips_per_second"));
  expect_spread(result.at("both_over_sum"));
  EXPECT_TRUE(result.at("same_order").get<bool>());
  const Json& ways = result.at("clips_by_decoder");
  EXPECT_EQ(sum_of(ways.at("gpu")), kClips);
  EXPECT_GT(ways.at("gpu").at("device"), 0);
  EXPECT_EQ(sum_of(ways.at("cpu")), 0U) << "threads with the CPU's tools count nothing";
  EXPECT_LE(sum_of(ways.at("both")), kClips);
  EXPECT_THAT(report_of("hybrid", result), ::testing::HasSubstr("both over the sum"));
}

TEST_F(GpuBench, UnderPressureTheRunEndsWithItsClips) {
  settings_.epochs = 6;
  const Json result = measure_pressure(settings_);
  EXPECT_TRUE(result.at("same_clips_and_order").get<bool>());
  EXPECT_EQ(result.at("clips"), 6 * kClips);
  EXPECT_GT(result.at("memory_in_use_at_worst"), 0.94);
  const Json& ways = result.at("clips_by_decoder");
  EXPECT_GT(ways.at("undisturbed").value("device", 0), 0);
  EXPECT_EQ(sum_of(ways.at("undisturbed")), 6 * kClips);
  // Which way they go is the governor's matter: sessions that are there are used on.
  EXPECT_EQ(
      sum_of(ways.at("before")) + sum_of(ways.at("while_taken")) + sum_of(ways.at("afterwards")),
      6 * kClips);
  EXPECT_THAT(report_of("pressure", result),
              ::testing::HasSubstr("| same clips and order | same |"));
}

}  // namespace
}  // namespace shardreel::gpu_bench
