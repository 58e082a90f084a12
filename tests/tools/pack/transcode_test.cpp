#include "tools/pack/transcode.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/tools/pack/oracle.h"

namespace shardreel::tools {
namespace {

using testing::ScratchDir;

class Transcode : public ::testing::Test {
 protected:
  Result<TranscodedVideo> run(const std::string& path, const std::string& spec) {
    const auto dot = path.rfind('.');
    return transcode_video(testing::open_bytes(path), path.substr(dot + 1),
                           parse_transcode_spec(spec).value(), scratch_.path().string(), {});
  }
  /// Transcode to a file.
  std::string made(const std::string& path, const std::string& spec) {
    auto video = run(path, spec);
    if (!video) {
      ADD_FAILURE() << path << " with " << spec << ": " << video.error().describe();
      return {};
    }
    last_ = *video;
    return testing::saved(*video->content, scratch_ / fmt::format("{}.mp4", count_++));
  }
  /// Expect the same frames at the same times, to a fraction of a frame.
  static void expect_same_times(const std::string& source, const std::string& output,
                                double tolerance) {
    const auto before = testing::probe_times(source);
    const auto after = testing::probe_times(output);
    ASSERT_EQ(before.size(), after.size()) << source;
    double off = 0;
    for (std::size_t i = 0; i < before.size(); ++i)
      off = std::max(off, std::abs(before[i] - after[i]));
    EXPECT_LE(off, tolerance) << source;
  }

  ScratchDir scratch_;
  TranscodedVideo last_;
  int count_ = 0;
};

TEST_F(Transcode, EveryCodecKeepsFramesAndTimesInClosedGroupsOfOneLength) {
  const std::string source = testing::make_test_clip("-c:v libx264 -g 250 -bf 3", 70, "mp4");
  for (const std::string codec :
       {"h264,preset=veryfast", "hevc,preset=ultrafast", "vp9,preset=8", "av1,preset=8"}) {
    const std::string output = made(source, "codec=" + codec + ",gop=12,short_side=96");
    expect_same_times(source, output, 1e-3);
    EXPECT_THAT(testing::probe_keyframes(output), ::testing::ElementsAre(0, 12, 24, 36, 48, 60))
        << codec;
    EXPECT_EQ(testing::probe_stream(output, "codec_name"), codec.substr(0, codec.find(',')));
    EXPECT_EQ(testing::probe_stream(output, "width"), "128");
    EXPECT_EQ(testing::probe_stream(output, "height"), "96");
    EXPECT_GT(testing::luma_psnr(source, output, "scale=128:96:flags=bicubic"), 28) << codec;
  }
}

}  // namespace
}  // namespace shardreel::tools
