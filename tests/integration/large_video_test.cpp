// Videos larger than what is set aside: decoded alone, or a counted skip with the figure; never a
// hang.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "shardreel/loader.h"
#include "shardreel/shard_writer.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

std::string clip_8k() {
  return testing::make_clip(
      "-f lavfi -i testsrc2=size=7680x4320:rate=30 -frames:v 18 -c:v libx264 -preset ultrafast "
      "-pix_fmt yuv420p",
      "mp4");
}

/// One keyframe, ten thousand frames: a single unit of 625 clips.
std::string clip_10000_frames() {
  return testing::make_clip(
      "-f lavfi -i testsrc=size=96x64:rate=30 -frames:v 10000 -c:v libx264 -preset ultrafast "
      "-g 20000 -keyint_min 20000 -sc_threshold 0 -pix_fmt yuv420p",
      "mp4");
}

class LargeVideo : public ::testing::Test {
 protected:
  LoaderOptions options(const std::vector<std::string>& videos) {
    auto writer =
        ShardWriter::create({.directory = dir_.path().string(), .overwrite = true}).value();
    for (std::size_t i = 0; i < videos.size(); ++i) {
      const std::vector<FieldToWrite> fields{{"mp4", testing::file_content(videos[i])}};
      writer.write(fmt::format("v{}", i), fields).value();
    }
    LoaderOptions options;
    options.input.urls = {writer.finish().value().front().path};
    options.input.max_skip_ratio = 1;
    options.batch.batch_size = 1;
    options.batch.rank = 0;
    options.batch.world_size = 1;
    options.resource.decode_threads = 4;
    return options;
  }

  static Metrics run(const LoaderOptions& options) {
    Loader loader = Loader::open(options);
    try {
      while (loader.next()) {
      }
    } catch (const ShardreelError& error) {
      EXPECT_EQ(error.error().code, ErrorCode::kEmptyEpoch) << error.what();
    }
    loader.stop();
    return loader.metrics();
  }

  testing::ScratchDir dir_;
};

TEST_F(LargeVideo, An8KClipIsDecodedAlone) {
  LoaderOptions one = options({clip_8k()});
  one.resource.shuffle_bytes = "64MiB";
  const Metrics metrics = run(one);
  EXPECT_EQ(metrics.clips, 1U);
  EXPECT_EQ(metrics.samples_complete, 1U);
}

TEST_F(LargeVideo, An8KClipIsSkippedWithTheFigureWhereItCannotBe) {
  LoaderOptions one = options({clip_8k()});
  one.resource.memory_bytes = "256MiB";
  const Metrics metrics = run(one);
  EXPECT_EQ(metrics.clips, 0U);
  EXPECT_EQ(metrics.skipped_by_reason.at("memory"), 1U);
  ASSERT_FALSE(metrics.first_failures.empty());
  EXPECT_NE(metrics.first_failures.front().message.find("bytes)"), std::string::npos)
      << metrics.first_failures.front().message;
}

TEST_F(LargeVideo, EveryShareAtItsMinimumItStillFinishes) {
  LoaderOptions tight = options({clip_10000_frames(), clip_8k()});
  tight.resource.shuffle_bytes = "8MiB";
  tight.batch.prefetch_batches = tight.batch.held_batches = 1;
  tight.resource.memory_bytes = "1GiB";
  const std::uint64_t smallest = plan(tight).value().smallest_bytes;
  tight.resource.memory_bytes = std::to_string(smallest);
  Metrics metrics = run(tight);
  EXPECT_EQ(metrics.clips, 625U);
  EXPECT_EQ(metrics.skipped_by_reason.at("memory"), 1U);

  // Just enough for the 8K decoder: it waits until it is alone.
  tight.resource.memory_bytes = std::to_string(smallest + (std::uint64_t{640} << 20));
  metrics = run(tight);
  EXPECT_EQ(metrics.clips, 626U);
}

}  // namespace
}  // namespace shardreel
