// Note [Emptying without a flush] on the CPU, where every pixel can be checked: units that follow
// each other in a decoder that is never flushed give the frames of the ffmpeg program.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "loader/decode/ffmpeg_decoder.h"
#include "tests/loader/decode/oracle.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

extern "C" {
#include <libavcodec/avcodec.h>
}

namespace shardreel::testing {
namespace {

/// FFmpeg on the CPU as a device's decoder is used. A format is asked for when H.264 is set up:
/// once for a context, and again behind every flush.
class AsOnADevice final : public CodecSetup {
 public:
  explicit AsOnADevice(int& set_ups) : set_ups_(set_ups) {}
  [[nodiscard]] const AVCodec* find(const AVCodecParameters& parameters) const override {
    return avcodec_find_decoder(parameters.codec_id);
  }
  Result<void> prepare(AVCodecContext& context) override {
    context.opaque = &set_ups_;
    context.get_format = [](AVCodecContext* of, const AVPixelFormat* offered) {
      ++*static_cast<int*>(of->opaque);
      return avcodec_default_get_format(of, offered);
    };
    return {};
  }
  Result<void> accept(AVFrame& /*frame*/) override { return {}; }
  std::optional<Error> own_failure() override { return std::nullopt; }
  [[nodiscard]] bool goes_on_after_errors() const override { return false; }
  [[nodiscard]] bool avoids_flushes() const override { return true; }
  void begin_unit() noexcept override {}
  void end_unit() noexcept override {}
  void trim() noexcept override {}
  [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override { return 0; }

 private:
  int& set_ups_;
};

struct Recipe {
  const char* name;
  const char* arguments;
  const char* extension = "mp4";
  bool never_flushed = true;  ///< else some units, or all, need it
};
std::ostream& operator<<(std::ostream& out, const Recipe& recipe) { return out << recipe.name; }

const Recipe kRecipes[] = {
    {"no_reordering", "-c:v libx264 -g 12 -bf 0 -pix_fmt yuv420p"},
    {"two_b", "-c:v libx264 -g 12 -bf 2 -pix_fmt yuv420p"},
    {"pyramid_of_16",
     "-c:v libx264 -pix_fmt yuv420p -x264-params keyint=24:bframes=16:b-adapt=0:b-pyramid=normal"},
    {"many_references", "-c:v libx264 -g 20 -bf 3 -refs 16 -pix_fmt yuv420p"},
    {"weighted", "-c:v libx264 -g 16 -bf 3 -x264-params weightp=2:weightb=1 -pix_fmt yuv420p"},
    {"intra_only", "-c:v libx264 -g 1 -pix_fmt yuv420p"},
    {"deep", "-c:v libx264 -g 16 -bf 2 -pix_fmt yuv420p10le"},
    {"baseline", "-c:v libx264 -g 9 -profile:v baseline -pix_fmt yuv420p"},
    {"matroska", "-c:v libx264 -g 12 -bf 3 -pix_fmt yuv420p", "mkv"},
    {"start_codes", "-c:v libx264 -g 12 -bf 3 -pix_fmt yuv420p", "ts", false},
    {"open_groups",
     "-c:v libx264 -pix_fmt yuv420p -x264-params open-gop=1:keyint=12:min-keyint=12:bframes=3",
     "mp4", false},
    {"refresh_without_keyframes",
     "-c:v libx264 -pix_fmt yuv420p -x264-params intra-refresh=1:keyint=12", "mp4", false},
    {"interlaced", "-c:v libx264 -g 12 -flags +ildct+ilme -pix_fmt yuv420p", "mp4", false},
    {"hevc", "-c:v libx265 -g 12 -x265-params log-level=none:pools=1", "mp4", false},
    {"vp9",
     "-c:v libvpx-vp9 -g 12 -auto-alt-ref 1 -lag-in-frames 10 -deadline realtime -cpu-used 8",
     "webm", false},
};

class PushOut : public ::testing::TestWithParam<Recipe> {
 protected:
  static constexpr int kFrames = 96;
  PushOut() : path_(make_test_clip(GetParam().arguments, kFrames, GetParam().extension)) {}

  void decode(std::vector<Window> windows, std::uint32_t unit_clips) {
    auto video = open_video(path_, true, unit_clips);
    ASSERT_TRUE(video) << video.error().describe();
    std::set<std::int64_t> want;
    for (const Window& window : windows) want.insert(window.frames.begin(), window.frames.end());
    const auto got = decode_windows(*video, std::move(windows), *decoder_);
    EXPECT_TRUE(got.failures.empty()) << got.failures.front();
    EXPECT_EQ(got.frames.size(), want.size());
    for (const auto& [frame, hash] : got.frames)
      ASSERT_EQ(hash, expected_.at(static_cast<std::size_t>(frame))) << "frame " << frame;
    EXPECT_EQ(got.repeated, 0U);
    units_ += got.units;
  }

  const std::string path_;
  const std::vector<std::string> expected_ = oracle_frames(path_);
  int set_ups_ = 0;
  std::size_t units_ = 0;
  const std::unique_ptr<VideoDecoder> decoder_ =
      make_ffmpeg_decoder(std::make_unique<AsOnADevice>(set_ups_));
};

TEST_P(PushOut, UnitsInOneDecoderGiveTheFramesOfTheProgram) {
  for (const std::int64_t length : {1, 8, 16}) {
    for (const std::uint32_t unit_clips : {1U, 4U}) {
      decode(dense_windows(kFrames, length, length), unit_clips);
      decode(dense_windows(kFrames, length, length + 5), unit_clips);
    }
  }
  if (GetParam().never_flushed) {
    EXPECT_EQ(set_ups_, 1) << "of " << units_ << " units";
  }
}

TEST_P(PushOut, AnyUnitMayFollowAny) {
  std::mt19937_64 random(test_seed());
  for (std::uint64_t round = 0; round < 5 + rounds(20); ++round) {
    const auto length = std::uniform_int_distribution<std::int64_t>(1, 9)(random);
    const auto step = std::uniform_int_distribution<std::int64_t>(1, 4)(random);
    std::vector<Window> windows;
    for (std::int64_t begin = std::uniform_int_distribution<std::int64_t>(0, kFrames - 1)(random);
         begin + (length - 1) * step < kFrames;
         begin += std::uniform_int_distribution<std::int64_t>(1, 40)(random)) {
      Window window{windows.size(), {}};
      for (std::int64_t i = 0; i < length; ++i) window.frames.push_back(begin + i * step);
      windows.push_back(std::move(window));
    }
    decode(std::move(windows), 1 + static_cast<std::uint32_t>(random() % 3));
  }
  if (GetParam().never_flushed) {
    EXPECT_EQ(set_ups_, 1) << "of " << units_ << " units";
  }
}

// The first frames of another video have the same timestamps: nothing of what was pushed in passes
// for them.
TEST_P(PushOut, VideosThatLookAlikeTakeTurns) {
  const std::string other = make_test_clip(std::string(GetParam().arguments) + " -vf negate",
                                           kFrames, GetParam().extension);
  const std::vector<std::string> of_other = oracle_frames(other);
  ASSERT_NE(of_other, expected_);
  for (int turn = 0; turn < 6; ++turn) {
    auto video = open_video(turn % 2 == 0 ? path_ : other, true, 1);
    ASSERT_TRUE(video) << video.error().describe();
    const auto got = decode_windows(*video, {Window{0, {0, 1, 2, 3, 4}}}, *decoder_);
    EXPECT_TRUE(got.failures.empty()) << got.failures.front();
    EXPECT_EQ(got.frames.size(), 5U);
    for (const auto& [frame, hash] : got.frames)
      EXPECT_EQ(hash, (turn % 2 == 0 ? expected_ : of_other).at(static_cast<std::size_t>(frame)));
  }
  if (GetParam().never_flushed) {
    EXPECT_EQ(set_ups_, 1);
  }
}

INSTANTIATE_TEST_SUITE_P(All, PushOut, ::testing::ValuesIn(kRecipes),
                         [](const auto& recipe) { return std::string(recipe.param.name); });

}  // namespace
}  // namespace shardreel::testing
