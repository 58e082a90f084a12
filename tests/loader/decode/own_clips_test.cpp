// Clips that ffmpeg makes here, in all codecs that selective decoding is promised for: units give
// the same frames as the ffmpeg program, dense and sparse, in memory and streaming.

#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <set>

#include "tests/loader/decode/oracle.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

struct Recipe {
  const char* name;
  const char* arguments;
  int frames;
  const char* extension;
  const char* size = "320x240";
  bool selective = true;  ///< whether units can start at its keyframes
};

std::ostream& operator<<(std::ostream& out, const Recipe& recipe) { return out << recipe.name; }

const Recipe kRecipes[] = {
    {"h264_closed", "-c:v libx264 -g 30 -bf 2 -pix_fmt yuv420p", 200, "mp4"},
    {"h264_open",
     "-c:v libx264 -pix_fmt yuv420p -x264-params open-gop=1:keyint=20:min-keyint=20:bframes=3", 200,
     "mp4"},
    {"h264_open_ts",
     "-c:v libx264 -pix_fmt yuv420p -x264-params open-gop=1:keyint=20:min-keyint=20:bframes=3", 120,
     "ts"},
    {"h264_no_b_mkv", "-c:v libx264 -g 25 -bf 0 -pix_fmt yuv420p", 120, "mkv"},
    {"h264_interlaced", "-c:v libx264 -g 24 -flags +ildct+ilme -pix_fmt yuv420p", 96, "mp4"},
    {"h264_odd_444", "-c:v libx264 -g 16 -pix_fmt yuv444p", 40, "mp4", "321x183"},
    {"h264_10bit", "-c:v libx264 -g 16 -pix_fmt yuv420p10le", 40, "mkv"},
    {"hevc_open", "-c:v libx265 -g 24 -x265-params log-level=none:pools=1", 120, "mp4"},
    {"hevc_closed", "-c:v libx265 -g 24 -x265-params log-level=none:pools=1:open-gop=0", 120,
     "mkv"},
    {"hevc_layers",
     "-c:v libx265 -g 24 -x265-params log-level=none:pools=1:temporal-layers=1:bframes=4", 96,
     "mp4"},
    {"vp8", "-c:v libvpx -g 30 -auto-alt-ref 1 -lag-in-frames 10 -b:v 300k -deadline realtime", 120,
     "webm"},
    {"vp9",
     "-c:v libvpx-vp9 -g 30 -auto-alt-ref 1 -lag-in-frames 10 -b:v 300k -deadline realtime "
     "-cpu-used 8",
     120, "webm"},
    {"av1", "-c:v libsvtav1 -preset 12 -g 32 -pix_fmt yuv420p", 100, "mp4"},
    {"mpeg4_b", "-c:v mpeg4 -g 24 -bf 2 -q:v 5", 120, "mp4"},
    {"mpeg4_avi", "-c:v mpeg4 -g 24 -q:v 5", 120, "avi"},
    {"mpeg2_interlaced", "-c:v mpeg2video -g 15 -bf 2 -q:v 5 -flags +ildct+ilme", 96, "ts"},
    {"mjpeg", "-c:v mjpeg -q:v 5 -pix_fmt yuvj420p", 40, "avi"},
    {"theora", "-c:v libtheora -g 16 -q:v 5", 64, "ogv"},
    {"h264_raw", "-c:v libx264 -g 16 -pix_fmt yuv420p", 48, "h264", "320x240", false},
};

class OwnClips : public ::testing::TestWithParam<Recipe> {
 protected:
  OwnClips()
      : path_(make_test_clip(GetParam().arguments, GetParam().frames, GetParam().extension,
                             GetParam().size)) {}
  /// Frames of `got` that are not the oracle's.
  std::size_t wrong(const Decoded& got) const {
    std::size_t count = 0;
    for (const auto& [frame, hash] : got.frames)
      count += hash != expected_.at(static_cast<std::size_t>(frame));
    return count;
  }
  std::string path_;
  std::vector<std::string> expected_ = oracle_frames(path_);
  std::unique_ptr<VideoDecoder> decoder_ = make_cpu_decoder();
};

TEST_P(OwnClips, DenseUnitsEqualTheOracle) {
  for (const std::int64_t length : {1, 2, 3, 5, 8, 16}) {
    for (const std::uint32_t unit_clips : {1u, 4u, 32u}) {
      auto video = open_video(path_, true, unit_clips);
      ASSERT_TRUE(video) << video.error().describe();
      EXPECT_EQ(video->facts().frame_count, GetParam().frames);
      EXPECT_EQ(expected_.size(), static_cast<std::size_t>(GetParam().frames));
      const auto got = decode_windows(
          *video, dense_windows(video->facts().frame_count, length, length), *decoder_);
      EXPECT_TRUE(got.failures.empty()) << got.failures.front();
      EXPECT_EQ(got.frames.size(), expected_.size());
      EXPECT_EQ(wrong(got), 0u) << "T=" << length << " unit_clips=" << unit_clips;
      EXPECT_EQ(got.total.errors, 0u);
      for (const auto& [frame, corrupt] : got.corrupt) EXPECT_FALSE(corrupt) << frame;
    }
  }
}

TEST_P(OwnClips, UnitsSplitAtClosedStartsEqualTheOracle) {
  const std::string name = GetParam().name;
  for (const std::int64_t length : {3, 8, 16}) {
    for (const bool streaming : {false, true}) {
      auto video = open_video(path_);
      ASSERT_TRUE(video);
      const auto windows = dense_windows(video->facts().frame_count, length, length);
      const auto got = decode_windows(*video, windows, *decoder_, streaming, true);
      EXPECT_TRUE(got.failures.empty()) << got.failures.front();
      EXPECT_EQ(got.frames.size(), expected_.size());
      EXPECT_EQ(wrong(got), 0u) << "T=" << length;
      EXPECT_EQ(got.repeated, 0u);
      EXPECT_EQ(got.total.errors, 0u);
      ASSERT_EQ(got.window_ordinals.size(), windows.size());
      for (std::size_t i = 0; i < windows.size(); ++i) EXPECT_EQ(got.window_ordinals[i], i);
      auto whole = open_video(path_);
      const std::size_t planned = whole->plan_units(windows);
      if (name == "h264_closed") {
        EXPECT_GT(got.units, planned);
        EXPECT_EQ(whole->split_next(whole->outline_next().packet_bytes() - 1), 1u) << "no room";
        EXPECT_EQ(whole->outlines().size(), planned);
      }
      if (name == "h264_open" || !GetParam().selective) {
        EXPECT_EQ(got.units, planned);
      }
    }
  }
}

TEST_P(OwnClips, SparseWindowsEqualTheFullDecode) {
  std::mt19937_64 random(test_seed());
  std::uint64_t given = 0, all = 0;
  for (std::uint64_t round = 0; round < 4 + rounds(40); ++round) {
    auto video = open_video(path_);
    ASSERT_TRUE(video);
    const std::int64_t count = video->facts().frame_count;
    const auto length = std::uniform_int_distribution<std::int64_t>(1, 9)(random);
    const auto step = std::uniform_int_distribution<std::int64_t>(1, 4)(random);
    std::vector<Window> windows;
    std::set<std::int64_t> frames;
    for (std::int64_t begin = std::uniform_int_distribution<std::int64_t>(0, count - 1)(random);
         begin + (length - 1) * step < count;
         begin += std::uniform_int_distribution<std::int64_t>(1, 90)(random)) {
      Window window{windows.size(), {}};
      for (std::int64_t i = 0; i < length; ++i) window.frames.push_back(begin + i * step);
      frames.insert(window.frames.begin(), window.frames.end());
      windows.push_back(std::move(window));
    }
    const auto got = decode_windows(*video, std::move(windows), *decoder_, round % 2 == 1);
    EXPECT_TRUE(got.failures.empty()) << got.failures.front();
    EXPECT_EQ(got.frames.size(), frames.size());
    EXPECT_EQ(wrong(got), 0u);
    EXPECT_EQ(got.repeated, 0u);
    EXPECT_EQ(got.total.errors, 0u);
    EXPECT_TRUE(std::is_sorted(got.window_ordinals.begin(), got.window_ordinals.end()));
    for (const auto& [frame, corrupt] : got.corrupt) EXPECT_FALSE(corrupt) << frame;
    given += got.total.packets;
    all += video->facts().packets;
  }
  if (GetParam().selective) {
    EXPECT_LT(given, all) << "nothing was left out";
  }
}

TEST_P(OwnClips, OneLateFrameTakesLittleWork) {
  if (!GetParam().selective) GTEST_SKIP() << "no usable keyframes";
  auto video = open_video(path_);
  ASSERT_TRUE(video);
  const std::int64_t last = video->facts().frame_count - 1;
  const auto got = decode_windows(*video, {Window{0, {last}}}, *decoder_);
  ASSERT_EQ(got.frames.size(), 1u);
  EXPECT_EQ(got.frames.at(last), expected_.back());
  EXPECT_LE(got.total.packets, 45u);  // a group of pictures, two where it is open
  EXPECT_LT(got.total.packets, video->facts().packets);
}

TEST_P(OwnClips, MemoryStaysWithinTheEstimate) {
  auto video = open_video(path_);
  ASSERT_TRUE(video);
  const auto got =
      decode_windows(*video, dense_windows(video->facts().frame_count, 16, 16), *decoder_);
  EXPECT_LE(got.peak_frame_bytes, got.decoder_bytes);
}

TEST_P(OwnClips, ReusedContextsGiveTheSameFrames) {
  for (int round = 0; round < 3; ++round) {
    auto video = open_video(path_, true, 2);
    ASSERT_TRUE(video);
    const auto got =
        decode_windows(*video, dense_windows(video->facts().frame_count, 8, 8), *decoder_);
    EXPECT_EQ(got.frames.size(), expected_.size());
    EXPECT_EQ(wrong(got), 0u);
    const bool recycles = std::string(GetParam().name).find("h264_closed") == 0 ||
                          std::string(GetParam().name).find("vp9") == 0;
    if (recycles && round > 0) {
      EXPECT_EQ(got.reused, got.units);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, OwnClips, ::testing::ValuesIn(kRecipes),
                         [](const auto& recipe) { return std::string(recipe.param.name); });

}  // namespace
}  // namespace shardreel::testing
