// What is planned of GPUs, and of pinned memory for them: the formula of docs/gpu.md written out,
// and what the loader really takes of the fake runtime.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "shardreel/loader.h"
#include "shardreel/units.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/fakecuda/fakecuda.h"
#include "tests/support/fakecuda/kernels.h"
#include "tests/support/fakedriver/fake_driver_control.h"
#include "tools/commands/index_build.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kClip = std::uint64_t{8} * 64 * 48;  // whole pages

class GpuPlan : public testing::NumberedShardsTest {
 protected:
  static LoaderOptions options() {
    LoaderOptions options = testing::small_options(shards_->paths);
    options.resource.devices = {"cuda:0"};
    options.resource.decode = DecodeDevice::kCuda;
    options.resource.gpu_memory_reserve = "0";
    options.resource.gpu_memory_bytes = "90%";
    return options;
  }
  static const PlanRow* find(const std::vector<PlanRow>& rows, std::string_view share) {
    const auto found = std::ranges::find(rows, share, &PlanRow::share);
    return found == rows.end() ? nullptr : &*found;
  }
  static std::uint64_t decoders(const LoaderOptions& options, std::string_view video) {
    const auto report = plan(options, AssumedVideo::parse(video).value()).value();
    const PlanRow* row = find(report.gpu_rows, "decoders");
    return row == nullptr ? 0 : row->bytes;
  }
};

TEST_F(GpuPlan, SessionsOfAnAssumedVideoFollowTheFormula) {
  const auto session = [](std::uint64_t pictures, std::uint64_t width, std::uint64_t height,
                          std::uint64_t bytes) {
    return 2 * (pictures + 5) * width * height * 3 / 2 * bytes + 64_MiB;
  };
  const LoaderOptions two = options();
  EXPECT_EQ(decoders(two, "1920x1080:h264"), 2 * session(16, 1920, 1088, 1));
  EXPECT_EQ(decoders(two, "3840x2160:hevc:10"), 2 * session(16, 3840, 2160, 2));
  EXPECT_EQ(decoders(two, "340x256:vp9"), 2 * session(8, 352, 256, 1));
  EXPECT_EQ(decoders(two, "640x480:mpeg2video"), 2 * session(3, 640, 480, 1));
  EXPECT_EQ(decoders(two, "1920x1080:av1"), 0U);
  EXPECT_THAT(plan(two, AssumedVideo{1920, 1080, "av1"})->gpu_videos,
              ::testing::HasSubstr("which the CPU decodes"));
  LoaderOptions spread = two;
  spread.batch.ranks = RankMode::kExact;
  spread.resource.decode_threads = 3;
  spread.resource.devices = {"cuda:0", "cuda:1"};
  EXPECT_EQ(decoders(spread, "1920x1080:h264"), 2 * session(16, 1920, 1088, 1))
      << "threads take the GPUs in turn";
  EXPECT_FALSE(plan(two, AssumedVideo{1920, 1080, "mp3"}));
  EXPECT_FALSE(AssumedVideo::parse("1920x1080:h264:9"));
}

TEST_F(GpuPlan, WithoutAnAssumptionItIsTheIndexThatCounts) {
  const testing::ScratchDir dir;
  LoaderOptions asked = options();
  asked.input.index_dir = dir.path().string();
  auto report = plan(asked).value();
  EXPECT_EQ(find(report.gpu_rows, "decoders"), nullptr);
  EXPECT_THAT(report.gpu_videos, ::testing::AllOf(::testing::HasSubstr("has no index"),
                                                  ::testing::HasSubstr("--assume-video")));
  tools::IndexBuildOptions build;
  build.index_dir = asked.input.index_dir;
  build.video_fields = asked.input.video_fields;
  for (const std::string& shard : shards_->paths)
    ASSERT_EQ(tools::index_shard(shard, build, {}).state, tools::IndexState::kWritten);
  report = plan(asked).value();
  // H.264 takes more than MPEG-4 of the same size.
  ASSERT_NE(find(report.gpu_rows, "decoders"), nullptr);
  EXPECT_EQ(find(report.gpu_rows, "decoders")->bytes,
            2 * (2 * 21 * std::uint64_t{64} * 48 * 3 / 2 + 64_MiB));
  EXPECT_THAT(report.gpu_videos, ::testing::HasSubstr("the largest of 20 videos in the index"));
  EXPECT_THAT(report.table(), ::testing::HasSubstr("64x48 h264"));
  // What is assumed goes before what is known.
  EXPECT_THAT(plan(asked, AssumedVideo{1920, 1080, "h264"})->gpu_videos,
              ::testing::StartsWith("assumed: 1920x1080 h264"));
}

TEST_F(GpuPlan, ItIsMadeWhereNoGpuIs) {
  fakecuda::configure({1, 1_GiB, 0});
  const std::string there = plan(options(), AssumedVideo{1920, 1080, "h264"})->to_json();
  fakecuda::fail_everything(cudaErrorNoDevice);
  EXPECT_EQ(plan(options(), AssumedVideo{1920, 1080, "h264"})->to_json(), there);
  fakecuda::fail_everything(cudaSuccess);
  LoaderOptions on_cpu = options();
  on_cpu.resource.decode = DecodeDevice::kCpu;
  EXPECT_EQ(plan(on_cpu, AssumedVideo{1920, 1080, "h264"})->gpu_videos, "none: decode is cpu");
  on_cpu.resource.devices = {"cpu:0"};
  EXPECT_TRUE(plan(on_cpu)->gpu_rows.empty());
  EXPECT_EQ(plan(on_cpu)->gpu_videos, "");
}

TEST_F(GpuPlan, TheLedgerHasThePinnedMemoryThatIsTaken) {
  const testing::FakeDriver driver(SHARDREEL_FAKE_DRIVER);
  fakecuda::configure({1, 1_GiB, 20});
  fakecuda::set_kernels();
  for (const bool on_gpu : {true, false}) {
    LoaderOptions asked = options();
    if (!on_gpu) asked.resource.devices = {"cpu:0"};
    asked.batch.epochs = 0;
    const auto planned = plan(asked).value();
    const std::uint64_t blocks = on_gpu ? 3 : 2;  // two threads, and the lane's
    ASSERT_NE(find(planned.rows, "pinned clips"), nullptr);
    EXPECT_EQ(find(planned.rows, "pinned clips")->bytes, blocks * kClip);
    {
      Loader loader = Loader::open(asked);
      const auto pinned = [&] { return loader.metrics().ledger.at("pinned").now; };
      const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
      while (pinned() < blocks * kClip && std::chrono::steady_clock::now() < deadline)
        static_cast<void>(loader.next());
      EXPECT_EQ(pinned(), blocks * kClip);
      const std::uint64_t staging = on_gpu ? loader.metrics().ledger.at("batch").now : 0;
      const std::uint64_t counted = pinned() + staging;
      EXPECT_GE(fakecuda::pinned_bytes(), counted);
      // Filters and value tables are some kilobytes each.
      EXPECT_LE(fakecuda::pinned_bytes(), counted + 128_KiB);
      loader.stop();
      EXPECT_EQ(pinned(), on_gpu ? kClip : 0) << "the threads' are gone, the lane's is not yet";
    }
    EXPECT_EQ(fakecuda::pinned_bytes(), 0U);
  }
  EXPECT_THAT(fakecuda::take_misuse(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace shardreel
