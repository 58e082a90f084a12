// Streams whose stored times do not tell the order in which frames are shown: every frame comes, in
// the order of the ffmpeg program's decoder, and the facts say that the times were not used.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "loader/demux/describe_video.h"
#include "tests/loader/decode/oracle.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

struct Stream {
  const char* name;
  const char* codec;
  const char* containers;  ///< blank between them
};

std::ostream& operator<<(std::ostream& out, const Stream& stream) { return out << stream.name; }

const Stream kStreams[] = {
    {"h264", "-c:v libx264 -bf 2 -g 25 -pix_fmt yuv420p", "mp4 mkv ts flv avi"},
    {"h264_pyramid", "-c:v libx264 -g 25 -x264-params bframes=5:b-pyramid=normal:b-adapt=0",
     "mp4 mkv"},
    {"h264_open", "-c:v libx264 -x264-params open-gop=1:keyint=20:min-keyint=20:bframes=3",
     "mkv ts"},
    {"hevc", "-c:v libx265 -g 24 -x265-params log-level=none:pools=1", "mp4 mkv ts"},
    {"hevc_closed", "-c:v libx265 -g 24 -x265-params log-level=none:pools=1:open-gop=0", "mkv"},
    {"mpeg2", "-c:v mpeg2video -bf 2 -g 15 -q:v 5", "mkv ts avi"},
    {"mpeg1", "-c:v mpeg1video -bf 2 -g 15 -q:v 5", "mkv"},
    {"mpeg4", "-c:v mpeg4 -bf 2 -g 24 -q:v 5", "mp4 mkv avi"},
};

class MisleadingTimes : public ::testing::TestWithParam<Stream> {};

TEST_P(MisleadingTimes, EveryFrameComesInTheDecodersOrder) {
  const std::string right = make_test_clip(GetParam().codec, 80, "mkv", "96x64");
  const std::string containers = GetParam().containers;
  for (std::size_t at = 0; at < containers.size();) {
    const std::size_t end = std::min(containers.find(' ', at), containers.size());
    const std::string container = containers.substr(at, end - at);
    at = end + 1;
    SCOPED_TRACE(container);
    const bool annex_b = container == "avi" && std::string(GetParam().name).starts_with("h264");
    const std::string path = make_clip(fmt::format("-i {} -map 0:v -c copy -bsf:v setts=pts=DTS{}",
                                                   right, annex_b ? ",h264_mp4toannexb" : ""),
                                       container);
    expect_equals_oracle(path);
    auto video = open_video(path);
    ASSERT_TRUE(video);
    EXPECT_TRUE(video->facts().by_count);
    EXPECT_EQ(video->facts().times_unused, container != "avi") << "AVI has none";
    EXPECT_GE(video->parameters()->codec->video_delay, 1) << "the decoder is not told";
    auto described = describe_video(file_in_memory(path), container);
    ASSERT_TRUE(described);
    EXPECT_EQ(described->record.times_unused, container != "avi");
    EXPECT_EQ(described->record.frame_count, video->facts().frame_count);
    EXPECT_GE(described->record.frame_count, container == "mp4" ? 78 : 80) << "an edit list hides";
  }
}

TEST_P(MisleadingTimes, RightTimesAreUsed) {
  auto video = open_video(make_test_clip(GetParam().codec, 80, "mkv", "96x64"));
  ASSERT_TRUE(video);
  EXPECT_FALSE(video->facts().times_unused);
  EXPECT_FALSE(video->facts().by_count);
}

TEST_P(MisleadingTimes, AnEditListHidesFramesAndTheirTimes) {
  const std::string whole = make_test_clip(GetParam().codec, 80, "mkv", "96x64");
  if (std::string(GetParam().containers).find("mp4") == std::string::npos) GTEST_SKIP() << "mkv";
  for (const char* seconds : {"0.7", "1.3", "1.9"}) {
    const std::string moved = make_clip(fmt::format("-i {} -c copy", whole), "mp4");
    const std::string cut = make_clip(fmt::format("-ss {} -i {} -c copy", seconds, moved), "mp4");
    auto video = open_video(cut);
    ASSERT_TRUE(video);
    EXPECT_FALSE(video->facts().times_unused) << cut;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MisleadingTimes, ::testing::ValuesIn(kStreams),
                         [](const auto& stream) { return std::string(stream.param.name); });

// ffmpeg warns of missing times and writes those of decoding: how people wrap a raw stream.
TEST(MisleadingTimes, RawStreamsThatWereWrapped) {
  const std::string raw =
      make_test_clip("-c:v libx264 -bf 2 -g 25 -pix_fmt yuv420p", 100, "h264", "64x64");
  const std::string path = make_clip(fmt::format("-i {} -c copy", raw), "mp4");
  expect_equals_oracle(path);
  auto video = open_video(path);
  ASSERT_TRUE(video);
  EXPECT_GE(video->facts().frame_count, 98);
  EXPECT_TRUE(video->facts().times_unused);
  EXPECT_NEAR(video->facts().average_fps, 30, 0.5);
}

TEST(MisleadingTimes, DecodingTimesAreTheTimesOfAvi) {
  const std::string source =
      make_test_clip("-c:v libx264 -bf 2 -g 25 -pix_fmt yuv420p", 100, "mp4", "64x64");
  const std::string path = make_clip(fmt::format("-i {} -c copy", source), "avi");
  auto video = open_video(path);
  ASSERT_TRUE(video);
  const VideoFacts& facts = video->facts();
  EXPECT_EQ(facts.frame_count, 100);
  EXPECT_NEAR(facts.average_fps, 30, 1e-6);  // the clips' rate; the chunks' is twice that
  ASSERT_EQ(facts.pts_seconds.size(), 100u);
  EXPECT_NEAR(facts.end_seconds - facts.pts_seconds[0], 100 / 30.0, 0.01);
  auto described = describe_video(file_in_memory(path), "avi");
  ASSERT_TRUE(described);
  EXPECT_EQ(described->record.frame_rate.numerator, 30 * described->record.frame_rate.denominator);
  EXPECT_NEAR(described->record.duration_seconds, 100 / 30.0, 0.01);
  EXPECT_FALSE(described->record.times_unused) << "there are none";
}

}  // namespace
}  // namespace shardreel::testing
