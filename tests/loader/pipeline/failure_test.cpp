// Failures are counted in their place, and say what, where and why.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "shardreel/loader.h"
#include "shardreel/shard_writer.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

using testing::ScratchDir;

LoaderOptions small_options(const std::vector<std::string>& urls) {
  LoaderOptions options = testing::small_options(urls);
  options.input.max_skip_ratio = 1;
  options.batch.batch_size = 2;
  options.resource.min_fill = LoaderOptions().resource.min_fill;
  return options;
}

struct Outcome {
  std::uint64_t batches = 0;
  std::optional<Error> error;
  Metrics metrics;
};

Outcome run(const LoaderOptions& options) {
  Loader loader = Loader::open(options);
  Outcome outcome;
  try {
    while (auto batch = loader.next()) ++outcome.batches;
  } catch (const ShardreelError& error) {
    outcome.error = error.error();
  }
  loader.stop();
  outcome.metrics = loader.metrics();
  testing::expect_conserved(outcome.metrics);
  EXPECT_EQ(outcome.metrics.samples, outcome.metrics.samples_complete +
                                         outcome.metrics.samples_partial +
                                         outcome.metrics.samples_skipped);
  return outcome;
}

/// A shard of mp4 videos with the keys v0, v1, ...
std::string write_shard(const ScratchDir& dir,
                        const std::vector<std::shared_ptr<const RandomAccess>>& videos) {
  auto writer = ShardWriter::create({.directory = dir.path().string()}).value();
  for (std::size_t i = 0; i < videos.size(); ++i) {
    const FieldToWrite video{"mp4", videos[i]};
    writer.write(fmt::format("v{}", i), {&video, 1}).value();
  }
  return writer.finish().value().at(0).path;
}

/// A good shard of four samples cut in the middle of the last one.
std::string cut_shard(const ScratchDir& dir) {
  const auto shards = testing::make_numbered_shards(dir, 1, 4);
  const std::string cut = dir / "cut.tar";
  std::filesystem::copy_file(shards.paths[0], cut);
  // Fields stand in name order (cls, json, mp4): the last mp4's header is at the key's last
  // mention.
  std::ifstream file(cut, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  std::filesystem::resize_file(cut, bytes.rfind("v003.mp4") + 1000);
  return cut;
}

TEST(Failure, ShardsThatCannotBeOpenedAreNamed) {
  ScratchDir dir;
  std::ofstream(dir / "empty.tar").flush();
  for (const std::string& url :
       {dir / "missing.tar", dir / "empty.tar", dir.path().string(), std::string("/dev/null")}) {
    const Outcome outcome = run(small_options({url}));
    EXPECT_EQ(outcome.batches, 0U);
    ASSERT_TRUE(outcome.error) << url;
    EXPECT_EQ(outcome.error->code, ErrorCode::kEmptyEpoch);
    EXPECT_NE(outcome.error->message.find(url), std::string::npos) << outcome.error->message;
    EXPECT_EQ(outcome.metrics.shards_failed, 1U) << url;
  }
}

TEST(Failure, OneMissingShardAmongFewIsMoreThanTheRatioAllows) {
  ScratchDir dir;
  auto urls = testing::make_numbered_shards(dir, 2, 6).paths;
  urls.push_back(dir / "missing.tar");
  LoaderOptions options = small_options(urls);
  EXPECT_FALSE(run(options).error);
  options.input.max_skip_ratio = 0.05;
  const Outcome outcome = run(options);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::kSkipRatio);
  EXPECT_GT(outcome.batches, 0U);
}

TEST(Failure, ATruncatedShardNamesTheKeyAndTheByte) {
  ScratchDir dir;
  const std::string cut = cut_shard(dir);
  const Outcome outcome = run(small_options({cut}));
  EXPECT_FALSE(outcome.error);
  EXPECT_EQ(outcome.metrics.shards_failed, 1U);
  ASSERT_FALSE(outcome.metrics.first_failures.empty());
  const Error& failure = outcome.metrics.first_failures.front();
  EXPECT_EQ(failure.shard, cut);
  EXPECT_EQ(failure.key, "v003");
  EXPECT_TRUE(failure.offset.has_value());
  EXPECT_EQ(outcome.metrics.samples_complete, 3U);
}

// Samples whose clips are all lost while decoding count for the ratio like those that do not open.
TEST(Failure, VideosThatDoNotDecodeCountForTheRatio) {
  ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 1, 4);
  std::ifstream file(shards.paths[0], std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(file), {}};
  // Nothing but the coded pictures is overwritten, so that the containers still open.
  for (auto at = bytes.find("mdat"); at != std::string::npos; at = bytes.find("mdat", at + 4)) {
    std::uint32_t size = 0;
    for (std::size_t i = at - 4; i < at; ++i)
      size = size << 8 | static_cast<std::uint8_t>(bytes[i]);
    for (std::size_t i = at + 4; i < at - 4 + size; ++i) bytes[i] = static_cast<char>(i * 37);
  }
  const std::string broken = dir / "broken.tar";
  std::ofstream(broken, std::ios::binary) << bytes;
  LoaderOptions options = small_options({broken});
  const Outcome tolerant = run(options);
  ASSERT_GT(tolerant.metrics.skipped_by_reason.at("decode_error"), 0U);
  options.input.max_skip_ratio = 0;
  const Outcome outcome = run(options);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::kSkipRatio) << outcome.error->describe();
}

// A video that opens and loses a part of its clips is no failed sample: its clips are judged.
TEST(Failure, ClipsThatAreLostCountForTheRatio) {
  ScratchDir dir;
  const std::string video = testing::numbered_clip(1, 80, "-c:v libx264 -g 20 -bf 0");
  std::string bytes = [&] {
    std::ifstream file(video, std::ios::binary);
    return std::string{std::istreambuf_iterator<char>(file), {}};
  }();
  // The last part of the coded pictures is overwritten.
  const auto mdat = bytes.find("mdat");
  ASSERT_NE(mdat, std::string::npos);
  std::uint32_t size = 0;
  for (std::size_t i = mdat - 4; i < mdat; ++i)
    size = size << 8 | static_cast<std::uint8_t>(bytes[i]);
  for (std::size_t i = mdat + size / 2; i < mdat - 4 + size; ++i)
    bytes[i] = static_cast<char>(i * 37);
  LoaderOptions options = small_options({write_shard(dir, {testing::content_of(bytes)})});
  const Outcome tolerant = run(options);
  EXPECT_FALSE(tolerant.error);
  EXPECT_EQ(tolerant.metrics.samples_partial, 1U);
  EXPECT_EQ(tolerant.metrics.samples_skipped, 0U);
  ASSERT_GT(tolerant.metrics.clips, 0U);
  ASSERT_LT(tolerant.metrics.clips, 10U);
  const double lost = 1 - static_cast<double>(tolerant.metrics.clips) / 10;
  options.input.max_skip_ratio = lost + 0.01;
  EXPECT_FALSE(run(options).error);
  options.input.max_skip_ratio = lost - 0.01;
  const Outcome outcome = run(options);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::kSkipRatio) << outcome.error->describe();
  EXPECT_NE(outcome.error->message.find("of 10 clips"), std::string::npos)
      << outcome.error->message;
  // Epochs that repeat their clips are judged once, by their own.
  options.batch.batches_per_epoch = 50;
  EXPECT_EQ(run(options).error->code, ErrorCode::kSkipRatio);
}

// One frame that stays on the screen for 1,000 s, sampled by time, fails with that reason.
TEST(Failure, AFrameThatStaysForLongFailsItsSample) {
  ScratchDir dir;
  const std::string even = testing::make_clip(
      "-f lavfi -i testsrc2=s=64x48:r=25:d=4 -c:v libx264 -bf 0 -g 25 -pix_fmt yuv420p", "mp4");
  const std::string gap = testing::make_clip(
      fmt::format("-i '{}' -c copy -bsf:v \"setts=ts='if(gte(N,50),TS+1000/TB,TS)'\"", even),
      "mp4");
  const std::string shard = write_shard(
      dir, {testing::file_content(even), testing::file_content(gap), testing::file_content(even)});
  LoaderOptions options = small_options({shard});
  options.batch.batch_size = 1;
  options.window.num_frames = 1;
  options.window.fps = 25;
  for (const ShortPolicy policy : {ShortPolicy::kDrop, ShortPolicy::kLoop}) {
    options.window.short_policy = policy;
    const Outcome outcome = run(options);
    EXPECT_FALSE(outcome.error);
    EXPECT_EQ(outcome.batches, 200U);
    EXPECT_EQ(outcome.metrics.skipped_by_reason.at("long_frame"), 1U);
    ASSERT_FALSE(outcome.metrics.first_failures.empty());
    const Error& failure = outcome.metrics.first_failures.front();
    EXPECT_EQ(failure.key, "v1");
    EXPECT_NE(failure.message.find("frame 49 stays shown for 1000.040 s"), std::string::npos)
        << failure.message;
  }
  options.input.max_skip_ratio = 0.05;
  const Outcome outcome = run(options);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::kSkipRatio);
  options.window.fps.reset();
  EXPECT_EQ(run(options).batches, 300U);
}

// The batches before a failure are delivered, and the same failure is reported every run.
TEST(Failure, OnErrorFailEndsTheRunInItsPlace) {
  ScratchDir dir;
  LoaderOptions options = small_options({cut_shard(dir)});
  options.input.on_error = OnError::kFail;
  options.batch.shuffle = ShuffleMode::kNone;
  const Outcome first = run(options);
  ASSERT_TRUE(first.error);
  EXPECT_EQ(first.error->key, "v003");
  for (const std::uint32_t threads : {1U, 4U}) {
    options.resource.decode_threads = threads;
    const Outcome again = run(options);
    EXPECT_EQ(again.batches, first.batches);
    EXPECT_EQ(again.error->describe(), first.error->describe());
  }
}

TEST(Failure, AFailingPipeIsReportedAndItsDataNotLost) {
  ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 1, 3);
  const Outcome good = run(small_options({"pipe:cat " + shards.paths[0]}));
  EXPECT_FALSE(good.error);
  EXPECT_EQ(good.metrics.samples_complete, 3U);
  const Outcome bad = run(small_options({"pipe:cat " + shards.paths[0] + "; exit 3"}));
  EXPECT_EQ(bad.metrics.shards_failed, 1U);
  ASSERT_FALSE(bad.metrics.first_failures.empty());
  EXPECT_NE(bad.metrics.first_failures.back().message.find("status 3"), std::string::npos);
}

TEST(Failure, ForbiddenPipesAndUnknownSchemesAreRefused) {
  LoaderOptions options = small_options({"pipe:echo hello"});
  options.input.allow_pipe = false;
  try {
    (void)Loader::open(options);
    FAIL() << "opened";
  } catch (const ShardreelError& error) {
    EXPECT_NE(error.error().message.find("allow_pipe"), std::string::npos);
  }
  const Outcome outcome = run(small_options({"s3://bucket/key.tar"}));
  ASSERT_TRUE(outcome.error);
  EXPECT_NE(outcome.error->message.find("s3://"), std::string::npos);
}

TEST(Failure, AnArchiveWithoutMembersIsNoFailureButAnEmptyEpochIs) {
  ScratchDir dir;
  const std::string nothing = dir / "nothing.tar";
  std::ofstream(nothing, std::ios::binary) << std::string(10240, '\0');
  auto urls = testing::make_numbered_shards(dir, 1, 3).paths;
  urls.push_back(nothing);
  LoaderOptions options = small_options(urls);
  options.input.max_skip_ratio = 0;
  EXPECT_FALSE(run(options).error);

  const Outcome empty = run(small_options({nothing}));
  ASSERT_TRUE(empty.error);
  EXPECT_EQ(empty.error->code, ErrorCode::kEmptyEpoch);
  EXPECT_EQ(empty.metrics.shards_failed, 0U);
  EXPECT_NE(empty.error->message.find("1 shard without samples (the first: shard " + nothing),
            std::string::npos)
      << empty.error->message;
}

TEST(Failure, ShardsThatCannotBeReadTwiceEndARepeatedEpoch) {
  ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 1, 3);
  const std::string once = dir / "once.tar";
  std::filesystem::copy_file(shards.paths[0], once);
  LoaderOptions options = small_options({"pipe:cat " + once + "; rm -f " + once});
  options.input.integrity = Integrity::kCompat;
  options.batch.batches_per_epoch = 1000;
  const Outcome outcome = run(options);
  ASSERT_TRUE(outcome.error);
  EXPECT_EQ(outcome.error->code, ErrorCode::kEmptyEpoch);
  EXPECT_NE(outcome.error->message.find("batches_per_epoch"), std::string::npos);
  EXPECT_GT(outcome.batches, 0U);
}

TEST(Failure, AnImpossiblePlanIsRefusedHoweverLarge) {
  LoaderOptions options = small_options({"a.tar"});
  options.transform.width = options.transform.height = 256;
  options.window.num_frames = 16;
  options.batch.batch_size = 1U << 19;
  options.batch.prefetch_batches = options.batch.held_batches = 1U << 24;  // 2^64 bytes in all
  const auto refused = plan(options);
  ASSERT_FALSE(refused.has_value());
}

TEST(Failure, AListTooLongToOrderIsRefusedWithItsLength) {
  const LoaderOptions options = small_options({"x-{0..99999999999999}.tar"});
  const auto refused = plan(options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("100000000000000 shards"), std::string::npos);
  EXPECT_THROW((void)Loader::open(options), ShardreelError);
}

TEST(Failure, AUnitLargerThanTheShareIsACountedSkipWithTheFigure) {
  ScratchDir dir;
  auto shards = testing::make_numbered_shards(dir, 1, 2);
  LoaderOptions options = small_options(shards.paths);
  options.transform.width = options.transform.height = 1024;
  options.transform.color = ColorMode::kRgb;
  options.window.num_frames = 16;
  options.batch.batch_size = 1;
  options.resource.memory_bytes = "512MiB";
  options.resource.shuffle_bytes = "64MiB";
  EXPECT_FALSE(run(options).error);  // 48 MiB a clip: long units, clip by clip
  Result<MemoryPlanReport> refused = Error{};
  options.resource.memory_bytes = "200MiB";
  refused = plan(options);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kMemory);
  EXPECT_NE(refused.error().message.find("bytes"), std::string::npos);
}

}  // namespace
}  // namespace shardreel
