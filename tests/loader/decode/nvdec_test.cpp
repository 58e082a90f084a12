// FFmpeg's own CUDA code over a fake driver: what its sessions give, and that none of its silent
// ways out is taken. Pictures are flat, their luma the number of the picture in its session.
#include "loader/decode/nvdec_decoder.h"

#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loader/device/device_registry.h"
#include "shardreel/loader.h"
#include "shardreel/units.h"
#include "tests/loader/decode/oracle.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/fakecuda/kernels.h"
#include "tests/support/fakedriver/fake_driver_control.h"
#include "tests/support/test_media.h"

namespace shardreel {
namespace {

using testing::FakeDriver;

/// Frames that came, and the luma they show, where it can be seen.
class Frames final : public FrameSink {
 public:
  Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) override {
    EXPECT_FALSE(corrupt);
    numbers.push_back(wanted.frame);
    const auto layout = nvdec_layout(frame);
    EXPECT_TRUE(layout) << "a frame that is not in the GPU's memory";
    if (layout) luma.push_back(frame.data[0][0]);
    return {};
  }
  std::vector<std::int64_t> numbers;
  std::vector<int> luma;
};

class Nvdec : public ::testing::Test {
 protected:
  void SetUp() override {
    fakecuda::configure({1, 1_GiB, 50});
    fakecuda::set_kernels();
  }
  void open(FakeDriver::Decoder decoder = FakeDriver::Decoder::kThere) {
    driver_ = std::make_unique<FakeDriver>(SHARDREEL_FAKE_DRIVER, decoder);
    device_ = open_device({DeviceKind::kCuda, 0}).value();
    stream_ = device_->make_stream().value();
    decoder_ = make_nvdec_decoder(NvdecDevice::open(device_, stream_).value());
  }
  void TearDown() override {
    decoder_.reset();
    stream_.reset();
    device_.reset();
    if (driver_) {
      EXPECT_EQ(driver_->sessions_live(), 0);
      EXPECT_EQ(driver_->memory_in_use(), 0U);
    }
    EXPECT_THAT(fakecuda::take_misuse(), ::testing::IsEmpty());
  }

  /// Decode all frames of a clip, unit by unit.
  Result<DecodeReport> decode(const std::string& path, FrameSink& sink) {
    VideoFile video = testing::open_video(path, true, 1).value();
    video.plan_units(testing::dense_windows(video.facts().frame_count, 8, 8));
    DecodeReport all;
    while (auto unit = video.next_unit(false).value()) {
      auto report = decoder_->decode(*unit, sink, {});
      if (!report) return report;
      all.frames_wanted += report->frames_wanted;
      all.sessions_made += report->sessions_made;
      ++units_;
    }
    return all;
  }

  static std::string clip(const std::string& codec, const std::string& size = "320x240") {
    return testing::make_test_clip(codec, 40, "mp4", size);
  }
  static constexpr const char* kPlain = "-c:v libx264 -g 250 -bf 0 -pix_fmt yuv420p";

  int units_ = 0;
  std::unique_ptr<FakeDriver> driver_;
  std::shared_ptr<Device> device_;
  std::shared_ptr<Stream> stream_;
  std::unique_ptr<VideoDecoder> decoder_;
};

std::vector<std::int64_t> first_numbers(std::int64_t count) {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < count; ++i) all.push_back(i);
  return all;
}

TEST_F(Nvdec, FramesAreInItsMemoryAndInOrder) {
  open();
  Frames frames;
  ASSERT_TRUE(decode(clip(kPlain), frames));
  EXPECT_EQ(frames.numbers, first_numbers(40));
  for (std::size_t i = 0; i < frames.luma.size(); ++i)
    EXPECT_EQ(frames.luma[i], static_cast<int>(i)) << "decoding order is that of display";
  for (const char* codec : {"-c:v libx264 -g 12 -bf 2 -pix_fmt yuv420p",
                            "-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p10le",
                            "-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p"}) {
    Frames others;
    ASSERT_TRUE(decode(clip(codec), others)) << codec;
    EXPECT_EQ(others.numbers, first_numbers(40)) << codec;
  }
  decoder_->trim();
  EXPECT_EQ(driver_->sessions_live(), 0);
}

TEST_F(Nvdec, ASessionStaysFromUnitToUnit) {
  open();
  for (const auto& [codec, extension] :
       {std::pair{"-c:v libx264 -g 8 -bf 0 -pix_fmt yuv420p", "mp4"},
        {"-c:v libx264 -g 8 -bf 3 -pix_fmt yuv420p", "mp4"},
        {"-c:v libx264 -g 8 -bf 7 -b_strategy 0 -pix_fmt yuv420p", "mkv"},
        {"-c:v libx265 -g 8 -x265-params log-level=none -pix_fmt yuv420p", "mp4"},
        {"-c:v libvpx-vp9 -g 8 -deadline realtime -cpu-used 8", "webm"},
        {"-c:v libvpx -g 8 -deadline realtime -cpu-used 8", "webm"}}) {
    decoder_->trim();
    units_ = 0;
    const int before = driver_->sessions_made();
    const std::string path = testing::make_test_clip(codec, 40, extension);
    for (const int video : {1, 2}) {
      Frames frames;
      const auto report = decode(path, frames);
      ASSERT_TRUE(report) << report.error().describe();
      EXPECT_EQ(frames.numbers, first_numbers(40)) << codec;
      EXPECT_EQ(report->sessions_made, video == 1 ? 1U : 0U) << codec;
    }
    EXPECT_GE(units_, 6) << codec;
    EXPECT_EQ(driver_->sessions_made() - before, 1) << codec << ", " << units_ << " units";
  }
  EXPECT_EQ(driver_->sessions_live(), 1);
}

TEST_F(Nvdec, WhereItMustBeFlushedSessionsAreCounted) {
  open();
  const int before = driver_->sessions_made();
  Frames frames;
  const auto report = decode(
      clip("-c:v libx264 -pix_fmt yuv420p -x264-params open-gop=1:keyint=8:min-keyint=8:bframes=3"),
      frames);
  ASSERT_TRUE(report) << report.error().describe();
  EXPECT_EQ(frames.numbers, first_numbers(40));
  EXPECT_GT(driver_->sessions_made() - before, 1);
  EXPECT_EQ(report->sessions_made, static_cast<unsigned>(driver_->sessions_made() - before));
  EXPECT_EQ(driver_->sessions_live(), 1) << "one after another";
}

TEST_F(Nvdec, NoRoomForASessionIsMemoryAndPasses) {
  open();
  driver_->set_sessions(0);
  Frames frames;
  auto refused = decode(clip(kPlain), frames);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kMemory) << refused.error().describe();
  EXPECT_TRUE(frames.numbers.empty()) << "no frames that were decoded in software";
  driver_->set_sessions(4);
  driver_->set_memory(driver_->memory_in_use() + 2_MiB);  // less than the surfaces
  refused = decode(clip(kPlain), frames);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kMemory) << refused.error().describe();
  driver_->set_memory(1_GiB);
  EXPECT_TRUE(decode(clip(kPlain), frames));
  EXPECT_EQ(frames.numbers, first_numbers(40));
}

TEST_F(Nvdec, KindsThatItDoesNotTakeAreUnsupported) {
  open();
  for (const auto& [codec, size] : {std::pair{"-c:v libx264 -g 30 -pix_fmt yuv444p", "320x240"},
                                    {"-c:v libx264 -g 30 -pix_fmt yuv420p10le", "320x240"},
                                    {"-c:v libx264 -g 30 -pix_fmt yuv420p", "32x32"}}) {
    Frames frames;
    const auto refused = decode(clip(codec, size), frames);
    ASSERT_FALSE(refused) << codec << size;
    EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported) << refused.error().describe();
    EXPECT_TRUE(frames.numbers.empty());
  }
}

TEST_F(Nvdec, WithoutTheDecodersLibraryNothingIsDecodedInSoftware) {
  open(FakeDriver::Decoder::kMissing);
  Frames frames;
  const auto refused = decode(clip(kPlain), frames);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnsupported) << refused.error().describe();
  EXPECT_TRUE(frames.numbers.empty());
}

TEST_F(Nvdec, WithoutADriverOpeningSaysSo) {
  device_ = open_device({DeviceKind::kCuda, 0}).value();
  stream_ = device_->make_stream().value();
  const auto refused = NvdecDevice::open(device_, stream_);
  ASSERT_FALSE(refused);
  EXPECT_EQ(fault_of(refused.error()), DeviceFault::kUnavailable);
  EXPECT_THAT(refused.error().message, ::testing::HasSubstr("libcuda.so.1"));
}

// The way that `decode = cuda` goes, from the shard to a batch: frames become clips by the kernel's
// arithmetic, and the order is the CPU's.
TEST_F(Nvdec, ALoaderDecodesThere) {
  open();
  decoder_.reset();
  testing::ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 2, 8);
  LoaderOptions options = testing::small_options(shards.paths);
  options.resource.gpu_memory_bytes = "90%";
  options.resource.gpu_memory_reserve = "0";
  std::vector<ClipId> order[2];
  for (const bool gpu : {false, true}) {
    options.resource.decode = gpu ? DecodeDevice::kCuda : DecodeDevice::kCpu;
    Loader loader = Loader::open(options);
    while (const auto batch = loader.next()) {
      for (std::size_t i = 0; i < batch->size(); ++i) {
        order[gpu ? 1 : 0].push_back(batch->clips[i].id);
        // What the CPU decoded meanwhile shows itself.
        if (!gpu || testing::check_numbered_clip(*batch, i).empty()) continue;
        const auto pixels = batch->clip_bytes(i);
        const std::size_t slot = pixels.size() / 8;
        for (std::size_t t = 0; t < 8; ++t) {
          EXPECT_TRUE(std::ranges::all_of(pixels.subspan(t * slot, slot), [&](std::byte b) {
            return b == pixels[t * slot];
          })) << "flat pictures stay flat";
        }
      }
    }
    loader.stop();
    const Metrics metrics = loader.metrics();
    testing::expect_accounted(metrics);
    if (gpu) {
      EXPECT_GT(metrics.clips_by_decoder.at("device"), 0U);
    }
  }
  EXPECT_EQ(order[1], order[0]);
  EXPECT_GT(driver_->sessions_made(), 0);
}

// A trainer that ran out of memory gets what sessions hold, at once.
TEST_F(Nvdec, ALoaderGivesIdleSessionsBack) {
  open();
  decoder_.reset();
  testing::ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 2, 8);
  LoaderOptions options = testing::small_options(shards.paths);
  options.resource.gpu_memory_bytes = "90%";
  options.resource.gpu_memory_reserve = "0";
  options.resource.decode = DecodeDevice::kCuda;
  Loader loader = Loader::open(options);
  while (loader.next()) {
  }
  const auto idle = loader.metrics().gpu_sessions.at("idle");
  EXPECT_GT(idle, 0U);
  EXPECT_EQ(driver_->sessions_live(), static_cast<int>(idle));
  EXPECT_GE(loader.release_gpu(), idle * 32_MiB) << "a formula, corrected by what was measured";
  EXPECT_EQ(driver_->sessions_live(), 0);
  EXPECT_EQ(loader.metrics().gpu_sessions.at("idle"), 0U);
  EXPECT_EQ(loader.release_gpu(), 0U);
  loader.stop();
  testing::expect_accounted(loader.metrics());
}

// The fake driver's pictures are wrong, and `decode = auto` finds out: it gives what the CPU gives.
TEST_F(Nvdec, AutoFindsWrongPicturesOut) {
  open();
  decoder_.reset();
  testing::ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 2, 8);
  LoaderOptions options = testing::small_options(shards.paths);
  options.resource.devices = {"cuda:0"};
  options.resource.gpu_memory_bytes = "90%";
  options.resource.gpu_memory_reserve = "0";
  std::vector<ClipId> order[3];
  std::vector<std::byte> pixels[3];
  std::vector<std::string> warnings;
  const DecodeDevice ways[] = {DecodeDevice::kCpu, DecodeDevice::kAuto, DecodeDevice::kCuda};
  for (std::size_t way = 0; way < 3; ++way) {
    options.resource.decode = ways[way];
    Loader loader = Loader::open(options, [&](LogLevel level, std::string_view line) {
      if (level == LogLevel::kWarning) warnings.emplace_back(line);
    });
    while (const auto batch = loader.next()) {
      for (const ClipInfo& clip : batch->clips) order[way].push_back(clip.id);
      const std::size_t before = pixels[way].size();
      pixels[way].resize(before + batch->size_bytes());
      batch->copy_to_host(std::span(pixels[way]).subspan(before));
    }
    loader.stop();
    const Metrics metrics = loader.metrics();
    if (ways[way] != DecodeDevice::kAuto) continue;
    EXPECT_EQ(loader.options().resource.decode, DecodeDevice::kAuto);
    EXPECT_EQ(metrics.clips_by_decoder.count("device"), 0U);
    EXPECT_GT(metrics.clips_by_decoder.at("cpu_unproven"), 0U);
    EXPECT_THAT(warnings, ::testing::Contains(::testing::AllOf(
                              ::testing::HasSubstr("the CPU decodes h264 profile"),
                              ::testing::HasSubstr("64x48"), ::testing::HasSubstr("levels"))));
  }
  EXPECT_EQ(order[1], order[0]);
  EXPECT_EQ(order[2], order[0]);
  EXPECT_EQ(pixels[1], pixels[0]);
  EXPECT_NE(pixels[2], pixels[0]) << "decode = cuda believes it";
}

}  // namespace
}  // namespace shardreel
