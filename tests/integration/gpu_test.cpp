// What only a GPU can show; skipped without one, with the reason. Videos come from the folder
// SHARDREEL_GPU_MEDIA (benchmarks/gpu/make_media.sh), because such a machine may have no ffmpeg.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <random>

#include "loader/device/device_registry.h"
#include "shardreel/loader.h"
#include "tests/support/device_picture.h"
#include "tests/support/pixel_reference.h"
#include "tests/support/scratch.h"
#include "tests/support/test_frame.h"

namespace shardreel {
namespace {

class OnAGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    const CudaPresence presence = cuda_presence();
    if (presence.devices == 0) GTEST_SKIP() << "no GPU: " << presence.why_none;
  }
};

TEST_F(OnAGpu, TheKernelWritesTheBytesThatItsArithmeticGivesHere) {
  auto device = open_device({DeviceKind::kCuda, 0}).value();
  std::uint64_t seed = testing::test_seed(), cases = 0;
  for (const AVColorSpace space : {AVCOL_SPC_BT470BG, AVCOL_SPC_BT709, AVCOL_SPC_BT2020_NCL}) {
    for (const AVColorRange range : {AVCOL_RANGE_MPEG, AVCOL_RANGE_JPEG}) {
      for (const char* format : {"nv12", "p010le", "yuv420p", "yuv420p10le"}) {
        for (const auto& [width, height] : {std::pair{96, 64}, {95, 61}}) {
          for (std::uint32_t turns = 0; turns < 4; ++turns) {
            ++seed;
            std::mt19937_64 random(seed);
            TransformOptions options;
            options.width = 20 + static_cast<std::uint32_t>(random() % 100);
            options.height = 20 + static_cast<std::uint32_t>(random() % 100);
            options.resize_mode = random() % 2 == 0 ? ResizeMode::kFit : ResizeMode::kShortSide;
            options.crop = random() % 2 == 0 ? CropMode::kResized : CropMode::kCenter;
            options.dtype = random() % 2 == 0 ? DType::kUint8 : DType::kFloat16;
            TransformDraws draws = draw_transform(options, seed, {0, 0, 0, cases});
            auto frame =
                testing::make_frame(format, width, height, testing::Content::kPicture, seed);
            frame->colorspace = space;
            frame->color_range = range;
            const FrameGeometry geometry =
                frame_geometry(static_cast<std::uint32_t>(width),
                               static_cast<std::uint32_t>(height), {turns, false}, options, draws);
            std::vector<std::uint8_t> want(slot_bytes(options) * element_bytes(options.dtype));
            testing::run_here(testing::HostPicture::make(*frame, geometry, options)
                                  .jobs(*frame, {want.data(), 0, 1}));
            ASSERT_EQ(testing::convert_on(*device, *frame, geometry, options, want.size()), want)
                << format << ' ' << width << 'x' << height << " turns " << turns << " seed "
                << seed;
            ++cases;
          }
        }
      }
    }
  }
  EXPECT_EQ(device->allocated_bytes(), 0U);
}

/// Shards whose clips are looked at.
std::vector<std::string> shards_to_check() {
  const char* media = std::getenv("SHARDREEL_GPU_MEDIA");
  std::vector<std::string> shards;
  if (media == nullptr) return shards;
  const auto folder = std::filesystem::path(media) / "check";
  if (!std::filesystem::is_directory(folder)) return shards;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".tar") shards.push_back(entry.path().string());
  }
  std::ranges::sort(shards);
  return shards;
}

class VideosOnAGpu : public OnAGpu {
 protected:
  void SetUp() override {
    OnAGpu::SetUp();
    if (IsSkipped()) return;
    shards_ = shards_to_check();
    if (shards_.empty())
      GTEST_SKIP() << "no videos: SHARDREEL_GPU_MEDIA names no folder of make_media.sh";
  }

  static LoaderOptions options(const std::string& shard) {
    LoaderOptions options;
    options.input.urls = {shard};
    options.transform.width = 160;
    options.transform.height = 128;
    options.batch.rank = 0;
    options.batch.world_size = 1;
    options.batch.drop_last = false;
    options.resource.memory_bytes = "1GiB";
    options.resource.min_fill = 4;
    options.resource.decode_threads = 4;
    return options;
  }

  struct Clips {
    std::vector<ClipId> order;
    std::vector<std::vector<std::uint8_t>> pixels;
    Metrics metrics;
  };
  static Clips take(const LoaderOptions& options) {
    Clips clips;
    Loader loader = Loader::open(options);
    while (const auto batch = loader.next()) {
      std::vector<std::byte> all(batch->size_bytes());
      batch->copy_to_host(all);
      const std::size_t each = all.size() / batch->size();
      for (std::size_t i = 0; i < batch->size(); ++i) {
        clips.order.push_back(batch->clips[i].id);
        const auto* begin = reinterpret_cast<const std::uint8_t*>(all.data()) + i * each;
        clips.pixels.emplace_back(begin, begin + each);
      }
    }
    loader.stop();
    clips.metrics = loader.metrics();
    return clips;
  }

  std::vector<std::string> shards_;
};

TEST_F(VideosOnAGpu, ALanesBatchesAreThoseOfTheHost) {
  for (const DType dtype : {DType::kUint8, DType::kFloat16}) {
    LoaderOptions asked = options(shards_.front());
    asked.transform.dtype = dtype;
    asked.resource.decode = DecodeDevice::kCpu;
    const Clips on_host = take(asked);
    asked.resource.devices = {"cuda:0"};
    const Clips on_gpu = take(asked);
    EXPECT_GT(on_host.order.size(), 0U);
    EXPECT_EQ(on_gpu.order, on_host.order);
    EXPECT_TRUE(on_gpu.pixels == on_host.pixels);
  }
}

TEST_F(VideosOnAGpu, WhatTheGpuDecodesIsWhatTheCpuDecodes) {
  for (const std::string& shard : shards_) {
    SCOPED_TRACE(shard);
    LoaderOptions asked = options(shard);
    asked.resource.decode = DecodeDevice::kCpu;
    const Clips by_cpu = take(asked);
    asked.resource.decode = DecodeDevice::kCuda;
    asked.resource.devices = {"cuda:0"};
    const Clips by_gpu = take(asked);
    ASSERT_GT(by_cpu.order.size(), 0U);
    ASSERT_EQ(by_gpu.order, by_cpu.order);
    for (std::size_t i = 0; i < by_cpu.order.size(); ++i) {
      const auto difference = testing::compare_pixels(by_gpu.pixels[i], by_cpu.pixels[i]);
      ASSERT_TRUE(difference.within_contract()) << "clip " << i << ": " << difference.describe();
    }
    const auto& ways = by_gpu.metrics.clips_by_decoder;
    const auto there = ways.find("device");
    EXPECT_TRUE(there != ways.end() && there->second > 0) << "the GPU decoded none of them";
  }
}

}  // namespace
}  // namespace shardreel
