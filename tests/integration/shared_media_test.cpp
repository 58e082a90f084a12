// The whole loader over real videos and hostile archives, where the shared media exist.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <thread>

#include "shardreel/loader.h"
#include "shardreel/shard_writer.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

namespace fs = std::filesystem;

/// Digests of what a run delivered, and how it ended.
struct Outcome {
  std::uint64_t order = 0, pixels = 0;
  std::multiset<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>> clips;
  Metrics metrics;
  std::optional<Error> error;
  friend bool same_digests(const Outcome& a, const Outcome& b) {
    return a.order == b.order && a.pixels == b.pixels;
  }
};

Outcome run_lane(Loader& loader, std::size_t lane) {
  Outcome outcome;
  try {
    while (const auto batch = loader.next(lane)) {
      for (std::size_t i = 0; i < batch->size(); ++i) {
        const ClipInfo& clip = batch->clips[i];
        outcome.clips.emplace(clip.id.shard, clip.id.sample, clip.id.window);
        const std::string facts = fmt::format("{} {} {}", clip.sample->key, clip.id.shard,
                                              fmt::join(clip.frame_index, ","));
        outcome.order = XXH3_64bits_withSeed(facts.data(), facts.size(), outcome.order);
        const auto bytes = batch->clip_bytes(i);
        outcome.pixels = XXH3_64bits_withSeed(bytes.data(), bytes.size(), outcome.pixels);
      }
    }
  } catch (const ShardreelError& error) {
    outcome.error = error.error();
  }
  return outcome;
}

std::vector<Outcome> run(const LoaderOptions& options) {
  Loader loader = Loader::open(options);
  std::vector<Outcome> outcomes(loader.lanes());
  {
    std::vector<std::jthread> consumers;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      consumers.emplace_back([&, i] { outcomes[i] = run_lane(loader, i); });
    }
  }
  loader.stop();
  for (Outcome& outcome : outcomes) {
    outcome.metrics = loader.metrics();
    std::uint64_t dropped = 0;
    for (const auto& [reason, count] : outcome.metrics.clips_dropped_by_reason) dropped += count;
    EXPECT_EQ(outcome.metrics.clips_cut, outcome.metrics.clips + dropped);
    EXPECT_EQ(outcome.metrics.samples, outcome.metrics.samples_complete +
                                           outcome.metrics.samples_partial +
                                           outcome.metrics.samples_skipped);
    for (const auto& [tag, use] : outcome.metrics.ledger) EXPECT_EQ(use.now, 0U) << tag;
  }
  return outcomes;
}

class SharedMedia : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::shared_media_dir().empty()) GTEST_SKIP() << "no shared media on this machine";
  }

  /// All shared videos in four shards, dealt in turn.
  static const std::vector<std::string>& shards() {
    static testing::ScratchDir dir;
    static const std::vector<std::string> paths = [] {
      std::vector<ShardWriter> writers;
      for (int s = 0; s < 4; ++s) {
        writers.push_back(ShardWriter::create({.directory = dir.path().string(),
                                               .prefix = fmt::format("media{}-", s)})
                              .value());
      }
      std::size_t number = 0;
      for (const auto& video : testing::shared_videos()) {
        std::string field = fs::path(video.path).extension().string().substr(1);
        std::ranges::transform(field, field.begin(),
                               [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        const std::vector<FieldToWrite> fields{{field, testing::file_content(video.path)}};
        writers[number % 4].write(fmt::format("v{:03d}", number), fields).value();
        ++number;
      }
      std::vector<std::string> made;
      for (ShardWriter& writer : writers) made.push_back(writer.finish().value().front().path);
      return made;
    }();
    return paths;
  }

  static LoaderOptions options() {
    LoaderOptions options;
    options.input.urls = shards();
    options.input.max_skip_ratio = 1;
    // The short run leaves long videos out; `--full` takes them all.
    if (testing::rounds(20) == 1) options.input.filter = {"max_frames=130"};
    options.transform.width = options.transform.height = 96;
    options.batch.drop_last = false;
    options.batch.rank = 0;
    options.batch.world_size = 1;
    options.resource.memory_bytes = "512MiB";
    options.resource.shuffle_bytes = "32MiB";
    options.resource.min_fill = 20;
    options.resource.decode_threads = 2;
    return options;
  }
};

TEST_F(SharedMedia, DigestsAreEqualForAllThreadsAndDifferForSeeds) {
  const Outcome expected = run(options()).front();
  EXPECT_GT(expected.clips.size(), 50U);
  const bool full = testing::rounds(20) > 1;
  for (const std::uint32_t decode_threads : full ? std::vector{1U, 2U, 4U} : std::vector{4U}) {
    for (const std::uint32_t reader_threads : full ? std::vector{1U, 4U} : std::vector{4U}) {
      LoaderOptions other = options();
      other.resource.decode_threads = decode_threads;
      other.input.reader_threads = reader_threads;
      EXPECT_TRUE(same_digests(run(other).front(), expected))
          << decode_threads << " x " << reader_threads;
    }
  }
  LoaderOptions seeded = options();
  seeded.batch.seed = 1;
  EXPECT_NE(run(seeded).front().order, expected.order);
  LoaderOptions later = options();
  later.batch.epoch = 1;
  EXPECT_NE(run(later).front().order, expected.order);
}

TEST_F(SharedMedia, FourLanesAreFourProcessesAndAllClipsAreThereOnce) {
  LoaderOptions lanes = options();
  // Each lane has its own decode share: a quarter of it must still hold the largest video.
  lanes.resource.memory_bytes = "4GiB";
  const Outcome whole = run(lanes).front();
  lanes.batch.ranks = RankMode::kExact;
  lanes.resource.devices = {"cpu:0", "cpu:1", "cpu:2", "cpu:3"};
  const auto together = run(lanes);
  std::multiset<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>> all;
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    LoaderOptions alone = lanes;
    alone.resource.devices = {"cpu:0"};
    alone.resource.shuffle_bytes = "8MiB";
    alone.batch.rank = rank;
    alone.batch.world_size = 4;
    EXPECT_TRUE(same_digests(run(alone).front(), together[rank])) << rank;
    all.insert(together[rank].clips.begin(), together[rank].clips.end());
  }
  EXPECT_EQ(all, whole.clips);
}

TEST_F(SharedMedia, CorruptVideosAreAccountedForInBothModes) {
  LoaderOptions corrupt = options();
  corrupt.input.filter = {"max_frames=150"};
  const Outcome strict = run(corrupt).front();
  corrupt.input.integrity = Integrity::kCompat;
  const Outcome compat = run(corrupt).front();
  EXPECT_EQ(strict.metrics.samples, compat.metrics.samples);
  // Under strict, clips with a frame flagged as corrupt are lost for that reason; compat keeps
  // them.
  EXPECT_GT(strict.metrics.clips_dropped_by_reason.at("decode_error"), 0U);
  EXPECT_EQ(compat.metrics.clips_dropped_by_reason.count("decode_error"), 0U);
  EXPECT_GT(compat.metrics.clips, strict.metrics.clips);
  for (const char* reason : {"not_media", "no_video_stream", "encrypted"}) {
    EXPECT_GT(strict.metrics.skipped_by_reason.at(reason), 0U) << reason;
  }
}

TEST_F(SharedMedia, HostileArchivesAreSurvivedAndAccountedFor) {
  const std::string tars = testing::shared_media_dir() + "/tars";
  for (const Integrity integrity : {Integrity::kStrict, Integrity::kCompat}) {
    for (const auto& entry : fs::directory_iterator(tars)) {
      if (entry.path().extension() == ".csv") continue;
      LoaderOptions one = options();
      one.input.urls = {entry.path().string()};
      one.input.integrity = integrity;
      const Outcome outcome = run(one).front();
      // None of them holds a video, so nothing is delivered, and that is said.
      ASSERT_TRUE(outcome.error) << entry.path();
      EXPECT_EQ(outcome.error->code, ErrorCode::kEmptyEpoch) << outcome.error->describe();
      for (const Error& failure : outcome.metrics.first_failures) {
        if (failure.code == ErrorCode::kEmptyEpoch) continue;
        EXPECT_EQ(failure.shard, entry.path().string()) << failure.describe();
        EXPECT_FALSE(failure.message.empty());
      }
    }
  }
}

// Judges the whole process, so it wants one of its own (as ctest gives it).
TEST_F(SharedMedia, ALongVideoStaysWithinItsBudget) {
  if (testing::sanitized()) GTEST_SKIP() << "kernel memory is not ours to judge under a sanitizer";
  testing::ScratchDir dir;
  auto writer = ShardWriter::create({.directory = dir.path().string()}).value();
  const std::vector<FieldToWrite> fields{
      {"mp4", testing::file_content(testing::shared_media_dir() +
                                    "/real/long_or_large/androidx_long_1080p_lowbitrate.mp4")}};
  writer.write("long", fields).value();
  LoaderOptions one = options();
  one.input.urls = {writer.finish().value().front().path};
  one.input.filter.clear();
  one.transform.width = one.transform.height = 224;
  one.resource.shuffle_bytes.clear();
  const Outcome outcome = run(one).front();
  EXPECT_EQ(outcome.clips.size(), 10883U / 16);
  constexpr double kMiB = 1 << 20;
  EXPECT_LT(static_cast<double>(outcome.metrics.peak_pss_bytes), (512 + 96) * kMiB);
  const double grown = static_cast<double>(outcome.metrics.peak_anonymous_bytes -
                                           outcome.metrics.baseline_anonymous_bytes);
  const double ledger = static_cast<double>(outcome.metrics.ledger_peak_bytes);
  EXPECT_NEAR(ledger / grown, 1.0, 0.10) << ledger / kMiB << " MiB of " << grown / kMiB;
}

}  // namespace
}  // namespace shardreel
