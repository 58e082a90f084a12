// Streams that break simple assumptions about packets, times and keyframes, against the ffmpeg
// program.

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>

#include "tests/loader/decode/oracle.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

constexpr const char* kOpenGop =
    "-c:v libx264 -pix_fmt yuv420p -x264-params open-gop=1:keyint=20:min-keyint=20:bframes=3";
constexpr const char* kHevc = "-c:v libx265 -x265-params log-level=none:pools=1:keyint=24";

/// Copy the packets of a clip from `seconds` on: edit lists in mp4, a start in the middle
/// elsewhere.
std::string cut(const std::string& clip, double seconds, const std::string& extension) {
  return make_clip("-ss " + std::to_string(seconds) + " -i " + clip + " -c copy", extension);
}

TEST(OddClips, EditLists) {
  expect_equals_oracle(cut(make_test_clip("-c:v libx264 -g 30 -bf 3", 120, "mp4"), 2.1, "mp4"));
  expect_equals_oracle(cut(make_test_clip(kOpenGop, 120, "mp4"), 2.1, "mp4"));
  expect_equals_oracle(cut(make_test_clip(kHevc, 120, "mp4"), 2.1, "mp4"));
  expect_equals_oracle(cut(make_test_clip("-c:v mpeg4 -g 24 -bf 2", 120, "mp4"), 2.1, "mp4"));
}

TEST(OddClips, EditListsHideFramesThatFfmpegShowsForAv1) {
  // FFmpeg 5.1 forgets the discard mark of packets in decoders like dav1d's and shows what the edit
  // list cuts away. We follow the edit list.
  const auto clip = cut(make_test_clip("-c:v libsvtav1 -preset 12 -g 32", 100, "mp4"), 1.5, "mp4");
  const auto all = oracle_frames(clip);
  auto video = open_video(clip);
  ASSERT_TRUE(video);
  ASSERT_LT(static_cast<std::size_t>(video->facts().frame_count), all.size());
  expect_equals_oracle(clip, all.size() - static_cast<std::size_t>(video->facts().frame_count));
}

TEST(OddClips, StartInTheMiddle) {
  expect_equals_oracle(cut(make_test_clip(kHevc, 120, "mp4"), 2.1, "mkv"));
  expect_equals_oracle(cut(make_test_clip(kHevc, 120, "mp4"), 2.1, "ts"));
  const ScratchDir scratch;
  const std::string codecs[] = {"-c:v libx264 -g 30 -bf 3", kOpenGop, kHevc};
  for (const std::string& codec : codecs) {
    const std::string whole = read_file(make_test_clip(codec, 120, "ts"));
    const std::string path = scratch / "cut.ts";
    write_file(path, whole.substr(whole.size() / 3 / 188 * 188));
    expect_equals_oracle(path);
  }
}

TEST(OddClips, FramesWithoutTimesOfTheirOwn) {
  expect_equals_oracle(make_test_clip("-c:v libxvid -bf 2 -g 24", 60, "avi"));  // packed
  expect_equals_oracle(make_test_clip("-c:v mpeg4 -bf 2 -g 24", 60, "avi"));
  expect_equals_oracle(make_test_clip("-c:v libx264 -bf 2 -g 24", 60, "avi"));
  expect_equals_oracle(make_test_clip("-c:v mpeg2video -bf 2 -g 15", 60, "mpg"));
  expect_equals_oracle(make_test_clip(kHevc, 48, "hevc"));
  expect_equals_oracle(make_test_clip("-c:v mjpeg -q:v 5", 20, "mjpeg"));
}

TEST(OddClips, HiddenFrames) {
  expect_equals_oracle(make_test_clip(
      "-c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -b:v 100k -g 20 -deadline realtime", 50,
      "webm"));
  expect_equals_oracle(make_test_clip(
      "-c:v libvpx-vp9 -auto-alt-ref 1 -lag-in-frames 16 -b:v 100k -g 20 -deadline realtime "
      "-cpu-used 8",
      50, "webm"));
  expect_equals_oracle(
      make_test_clip("-c:v libsvtav1 -preset 12 -g 32 -pix_fmt yuv420p", 60, "ivf"));
}

TEST(OddClips, IntraRefreshHasOneKeyframe) {
  const auto clip =
      make_test_clip("-c:v libx264 -x264-params intra-refresh=1:keyint=30:bframes=2", 90, "mp4");
  expect_equals_oracle(clip);
  auto video = open_video(clip);
  ASSERT_TRUE(video);
  EXPECT_EQ(video->facts().keyframes, 1u);  // recovery takes many frames: no place to start at
}

TEST(OddClips, VariableFrameRateKeepsItsTimes) {
  const auto clip = make_clip(
      "-f lavfi -i testsrc2=size=320x240:rate=30 -frames:v 40 -vf "
      "\"select='not(mod(n\\,3))+not(mod(n\\,7))'\" -vsync vfr -c:v libx264 -g 12",
      "mp4");
  expect_equals_oracle(clip);
  auto video = open_video(clip);
  ASSERT_TRUE(video);
  const auto& times = video->facts().pts_seconds;
  for (std::size_t frame = 0, n = 0; frame < times.size(); ++n) {
    if (n % 3 == 0 || n % 7 == 0) {
      EXPECT_NEAR(times[frame], static_cast<double>(n) / 30, 1e-3);
      ++frame;
    }
  }
}

TEST(OddClips, OtherContainersAndCodecs) {
  expect_equals_oracle(
      make_test_clip("-c:v libx264 -g 30 -bf 2 -movflags frag_keyframe+empty_moov", 90, "mp4"));
  expect_equals_oracle(make_test_clip("-c:v libx264 -g 30 -bf 2", 90, "flv"));
  expect_equals_oracle(make_test_clip("-c:v wmv2 -g 20", 60, "wmv"));
  expect_equals_oracle(make_test_clip("-c:v prores", 20, "mov"));
  expect_equals_oracle(make_test_clip("-c:v ffv1", 20, "mkv"));
  expect_equals_oracle(make_test_clip("-c:v flv1 -g 20", 40, "flv"));
}

// Every sample of an mp4 without a sync table counts as a keyframe: the bitstream tells better.
TEST(OddClips, ContainersThatCallEveryPacketAKeyframe) {
  std::string bytes = read_file(make_test_clip("-c:v libx264 -g 30 -bf 3", 120, "mp4"));
  const auto table = bytes.find("stss");
  ASSERT_NE(table, std::string::npos);
  bytes.replace(table, 4, "free");
  const ScratchDir scratch;
  const std::string path = scratch / "no_stss.mp4";
  write_file(path, bytes);
  expect_equals_oracle(path);
  auto video = open_video(path);
  ASSERT_TRUE(video);
  EXPECT_EQ(video->facts().keyframes, 4u);
}

// What people keep videos in besides; odd_shards_test.py feeds them.
TEST(OddClips, ContainersFromElsewhere) {
  expect_equals_oracle(make_test_clip("-c:v wmv2 -q:v 2 -g 20", 60, "asf"));
  expect_equals_oracle(make_test_clip("-c:v gif", 30, "gif"));
  expect_equals_oracle(make_test_clip("-c:v mpeg2video -q:v 2 -g 15", 60, "m2v"));
  expect_equals_oracle(make_test_clip("-c:v mpeg2video -q:v 2 -bf 2 -g 15", 60, "m2v"));
  expect_equals_oracle(make_test_clip("-c:v mpeg2video -q:v 2 -bf 2 -g 15", 60, "vob"));
  expect_equals_oracle(make_test_clip("-c:v libx264 -g 30 -bf 2 -pix_fmt yuv420p", 60, "3g2"));
  expect_equals_oracle(make_test_clip("-c:v mpeg2video -q:v 2 -bf 2 -g 15 -r 25", 60, "mxf"));
  expect_equals_oracle(make_test_clip("-c:v libwebp", 1, "webp"));
}

/// Which corner of a 32x32 grey picture is bright: 0 top left, then clockwise.
int bright_corner(const std::string& pixels) {
  const auto at = [&](int x, int y) {
    return static_cast<unsigned char>(pixels.at(static_cast<std::size_t>(y * 32 + x))) > 128;
  };
  return at(8, 8) ? 0 : at(24, 8) ? 1 : at(24, 24) ? 2 : at(8, 24) ? 3 : -1;
}

// The ffmpeg program turns pictures as the matrix says: where it puts the bright corner is the
// number of quarter turns.
TEST(OddClips, RotationIsReported) {
  const auto plain = make_clip(
      "-f lavfi -i \"color=black:size=32x32:rate=5,geq=lum='if(lt(X,16)*lt(Y,16),235,16)'\" "
      "-frames:v 2 -c:v libx264 -qp 5",
      "mp4");
  std::set<std::uint32_t> seen;
  const ScratchDir scratch;
  for (const char* angle : {"0", "90", "180", "270"}) {
    const auto turned =
        make_clip("-i " + plain + " -c copy -metadata:s:v:0 rotate=" + angle, "mp4");
    const std::string shown = scratch / "shown.gray";
    run_command("ffmpeg -y -v quiet -i " + turned + " -frames:v 1 -pix_fmt gray -f rawvideo " +
                shown);
    auto video = open_video(turned);
    ASSERT_TRUE(video);
    EXPECT_EQ(static_cast<int>(video->parameters()->quarter_turns),
              bright_corner(read_file(shown)));
    EXPECT_FALSE(video->parameters()->mirror);
    seen.insert(video->parameters()->quarter_turns);
  }
  EXPECT_EQ(seen.size(), 4u);
}

}  // namespace
}  // namespace shardreel::testing
