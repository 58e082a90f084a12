#include "tools/pack/segment.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/tools/pack/oracle.h"

namespace shardreel::tools {
namespace {

using testing::ScratchDir;

struct Cut {
  std::vector<std::string> paths;
  std::vector<VideoSegment> segments;
};

class Segments : public ::testing::Test {
 protected:
  Result<Cut> cut(const std::string& path, double seconds, bool audio = true) {
    const std::string field = std::filesystem::path(path).extension().string().substr(1);
    auto segmenter = VideoSegmenter::open(testing::open_bytes(path), field,
                                          {seconds, audio, scratch_.path().string()});
    if (!segmenter) return std::move(segmenter.error());
    Cut result;
    for (;;) {
      auto segment = segmenter->next({});
      if (!segment) return std::move(segment.error());
      if (!*segment) break;
      result.paths.push_back(testing::saved(
          *(*segment)->content, scratch_ / fmt::format("{}.{}", count_++, (*segment)->field)));
      result.segments.push_back(**segment);
    }
    EXPECT_EQ(result.segments.size(), segmenter->segment_count());
    return result;
  }

  /// Cut, and expect that the segments together are the source: same frames, decoded the same, at
  /// the same times. Returns the number of segments.
  std::size_t expect_whole(const std::string& path, double seconds) {
    SCOPED_TRACE(path);
    auto result = cut(path, seconds);
    if (!result) {
      ADD_FAILURE() << result.error().describe();
      return 0;
    }
    std::vector<std::string> hashes;
    std::vector<double> times;
    for (std::size_t i = 0; i < result->paths.size(); ++i) {
      const VideoSegment& segment = result->segments[i];
      const auto own = testing::frame_hashes(result->paths[i]);
      const auto shown = testing::probe_times(result->paths[i]);
      EXPECT_EQ(segment.number, i);
      EXPECT_EQ(segment.first_frame, static_cast<std::int64_t>(hashes.size()));
      EXPECT_EQ(segment.frames, static_cast<std::int64_t>(own.size())) << "segment " << i;
      EXPECT_EQ(own.size(), shown.size()) << "segment " << i;
      if (!shown.empty()) {
        EXPECT_NEAR(shown.front(), 0, 1e-3) << "segment " << i;
      }
      if (i > 0) {
        EXPECT_GE(segment.start_seconds + 1e-6, result->segments[i - 1].end_seconds);
      }
      hashes.insert(hashes.end(), own.begin(), own.end());
      for (const double time : shown) times.push_back(time + segment.start_seconds);
    }
    EXPECT_EQ(hashes, testing::frame_hashes(path));
    const auto expected = testing::probe_times(path);
    EXPECT_EQ(times.size(), expected.size());
    for (std::size_t i = 0; i < std::min(times.size(), expected.size()); ++i) {
      if (std::abs(times[i] - expected[i]) > 2e-3) {
        ADD_FAILURE() << "frame " << i << " at " << times[i] << ", expected " << expected[i];
        break;
      }
    }
    return result->segments.size();
  }

  ScratchDir scratch_;
  int count_ = 0;
};

TEST_F(Segments, TogetherTheyAreTheSource) {
  const struct {
    const char* codec;
    const char* extension;
  } kSources[] = {
      {"-c:v libx264 -preset ultrafast -bf 0 -g 20", "mp4"},
      {"-c:v libx264 -preset veryfast -bf 3 -g 20", "mp4"},
      {"-c:v libx264 -preset veryfast -bf 3 -g 20", "mkv"},
      {"-c:v libx264 -preset veryfast -bf 3 -g 20", "ts"},
      {"-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=20:open-gop=0", "mp4"},
      {"-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 20", "webm"},
      {"-c:v libvpx -deadline realtime -cpu-used 8 -auto-alt-ref 1 -lag-in-frames 10 -g 20",
       "webm"},
      {"-c:v mpeg4 -bf 2 -g 20 -flags +cgop -sc_threshold 1000000000", "mp4"},
      {"-c:v mjpeg", "mkv"},
  };
  for (const auto& [codec, extension] : kSources) {
    const std::string path = testing::make_test_clip(codec, 70, extension, "96x64");
    EXPECT_GE(expect_whole(path, 0.6), 3u) << codec;
  }
}

TEST_F(Segments, OpenGroupsArePartedWithoutLoss) {
  for (const char* codec :
       {"-c:v libx265 -preset veryfast -x265-params log-level=none:keyint=20:min-keyint=20:"
        "scenecut=0:open-gop=1:bframes=4",
        "-c:v mpeg2video -bf 2 -g 12"}) {
    for (const char* extension : {"mp4", "ts"}) {
      const std::string path = testing::make_test_clip(codec, 70, extension, "96x64");
      EXPECT_GE(expect_whole(path, 0.6), 3u) << codec << " " << extension;
    }
  }
}

TEST_F(Segments, VariableFrameTimesAreKept) {
  const std::string path = testing::make_clip(
      "-f lavfi -i testsrc2=size=96x64:rate=30 -frames:v 60 -vf "
      "\"settb=1/1000,setpts='N*33+mod(N*N*7,23)+if(gt(N,30),2000,0)'\" -vsync vfr -c:v libx264 "
      "-preset veryfast -bf 3 -g 10 -enc_time_base 1/1000",
      "mkv");
  EXPECT_GE(expect_whole(path, 0.5), 3u);
}

TEST_F(Segments, AVideoWithoutPlacesToCutStaysWhole) {
  const std::string path =
      testing::make_test_clip("-c:v libx264 -preset veryfast -g 250 -bf 2", 60, "mp4", "96x64");
  EXPECT_EQ(expect_whole(path, 0.5), 1u);
  // Open groups of H.264: their keyframes are no clean starts for every decoder.
  const std::string open = testing::make_test_clip(
      "-c:v libx264 -preset veryfast -g 20 -x264-params open-gop=1:bframes=3:scenecut=0", 70, "mp4",
      "96x64");
  EXPECT_EQ(expect_whole(open, 0.5), 1u);
}

TEST_F(Segments, EachIsAsLongAsAskedAndBeginsWithAKeyframe) {
  const std::string path =
      testing::make_test_clip("-c:v libx264 -preset ultrafast -g 15 -bf 2", 150, "mp4", "96x64");
  const auto result = cut(path, 1);
  ASSERT_TRUE(result);
  ASSERT_EQ(result->segments.size(), 5u);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(result->segments[i].start_seconds, static_cast<double>(i), 1e-6);
    EXPECT_NEAR(result->segments[i].end_seconds, static_cast<double>(i + 1), 1e-6);
    EXPECT_EQ(testing::probe_keyframes(result->paths[i]), (std::vector<std::size_t>{0, 15}));
  }
  EXPECT_EQ(segment_key("folder/name", 3), "folder/name_0003");
}

TEST_F(Segments, RotationColoursAndSoundGoAlong) {
  const std::string plain = testing::make_clip(
      "-f lavfi -i testsrc2=size=96x64:rate=30 -f lavfi -i sine -t 2.5 -c:v libx264 -preset "
      "ultrafast -g 15 -c:a aac -pix_fmt yuv420p -colorspace bt709 -color_primaries bt709 "
      "-color_trc bt709 -color_range tv",
      "mp4");
  const std::string path =
      testing::make_clip(fmt::format("-i '{}' -c copy -metadata:s:v:0 rotate=270", plain), "mp4");
  const auto sound = [](const std::string& file) {
    return testing::run_command(
        fmt::format("ffmpeg -v error -i '{}' -vn -map '0:a?' -c copy -f framemd5 - | grep -v '^#' "
                    "| sed 's/.*,//'",
                    file));
  };
  const auto result = cut(path, 1);
  ASSERT_TRUE(result) << result.error().describe();
  ASSERT_EQ(result->paths.size(), 3u);
  std::string together;
  for (const std::string& segment : result->paths) {
    EXPECT_FALSE(sound(segment).empty());
    together += sound(segment);
    for (const char* entry : {"stream_side_data=rotation", "color_space", "color_transfer",
                              "color_primaries", "color_range"})
      EXPECT_EQ(testing::probe_stream(segment, entry), testing::probe_stream(path, entry)) << entry;
  }
  EXPECT_EQ(together, sound(path)) << "packets of audio are lost, doubled or changed";
  const auto silent = cut(path, 1, false);
  ASSERT_TRUE(silent);
  for (const std::string& segment : silent->paths) EXPECT_EQ(sound(segment), "");
  expect_whole(path, 1);
}

TEST_F(Segments, WhatMp4CannotHoldBecomesMatroska) {
  const std::string path = testing::make_clip(
      "-f lavfi -i testsrc2=size=96x64:rate=10 -f lavfi -i sine=d=4 -t 4 -c:v libx264 -bf 2 -g 10 "
      "-c:a pcm_s16le",
      "mkv");
  const auto result = cut(path, 1);
  ASSERT_TRUE(result) << result.error().describe();
  EXPECT_EQ(result->segments.front().field, "mkv");
  EXPECT_EQ(expect_whole(path, 1), 4u);
}

TEST_F(Segments, FramesHiddenByAnEditListStayHidden) {
  const std::string plain =
      testing::make_test_clip("-c:v libx264 -preset veryfast -g 20 -bf 2", 70, "mp4", "96x64");
  // A copy that begins between keyframes: the frames before are there, and hidden.
  const std::string path = testing::make_clip(fmt::format("-ss 0.4 -i '{}' -c copy", plain), "mp4");
  const auto frames = testing::probe_times(path).size();
  ASSERT_LT(frames, 70u);
  auto result = cut(path, 0.6);
  ASSERT_TRUE(result) << result.error().describe();
  std::int64_t sum = 0;
  std::vector<std::string> hashes;
  for (std::size_t i = 0; i < result->paths.size(); ++i) {
    sum += result->segments[i].frames;
    const auto own = testing::frame_hashes(result->paths[i]);
    hashes.insert(hashes.end(), own.begin(), own.end());
  }
  EXPECT_GE(result->paths.size(), 2u);
  EXPECT_EQ(hashes, testing::frame_hashes(path));
  EXPECT_EQ(static_cast<std::size_t>(sum), hashes.size());
}

TEST_F(Segments, WhatCannotBeCutIsRefusedWithTheReason) {
  const auto refusal = [&](const std::string& path) {
    const auto result = cut(path, 1);
    return result ? std::string("accepted") : result.error().message;
  };
  EXPECT_THAT(refusal(testing::make_test_clip("-c:v libx264 -bf 2", 60, "h264", "96x64")),
              ::testing::HasSubstr("no times of their own"));
  const std::string whole = testing::all_bytes(*testing::open_bytes(
      testing::make_test_clip("-c:v libx264 -movflags faststart -g 20", 60, "mp4", "96x64")));
  std::ofstream(scratch_ / "half.mp4", std::ios::binary) << whole.substr(0, whole.size() / 2);
  EXPECT_THAT(refusal(scratch_ / "half.mp4"), ::testing::HasSubstr("packet"));
  const auto bad = VideoSegmenter::open(testing::open_bytes(scratch_ / "half.mp4"), "mp4", {0});
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().code, ErrorCode::kInvalidOption);
}

TEST_F(Segments, SharedVideosStayWhole) {
  int seen = 0;
  const bool full = testing::rounds(20) > 1;
  for (const testing::SharedVideo& video : testing::shared_videos()) {
    const auto bytes = std::filesystem::file_size(video.path);
    if (bytes > (std::uintmax_t{full ? 4096u : 300u} << 10)) continue;
    if (video.frames.value_or(0) > (full ? 2000 : 130)) continue;
    // A cut does not decode: what is broken inside packets stays so.
    if (video.category.find("corrupt") != std::string::npos) continue;
    const auto result = cut(video.path, 1);
    if (!result) continue;  // the corrupt, raw streams, ...: enough must be left
    ++seen;
    std::vector<std::string> hashes;
    for (const std::string& path : result->paths) {
      const auto own = testing::frame_hashes(path);
      hashes.insert(hashes.end(), own.begin(), own.end());
    }
    EXPECT_EQ(hashes, testing::frame_hashes(video.path)) << video.name;
  }
  if (seen == 0) GTEST_SKIP() << "no shared media here";
  EXPECT_GE(seen, 5);
}

}  // namespace
}  // namespace shardreel::tools
