#include "tools/pack/segment.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

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

}  // namespace
}  // namespace shardreel::tools
