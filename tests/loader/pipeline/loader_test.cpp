#include "shardreel/loader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "shardreel/shard_writer.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

using testing::make_numbered_shards;
using testing::NumberedShards;
using testing::ScratchDir;

/// What one lane delivered in one epoch.
struct Delivered {
  std::vector<ClipId> ids;
  std::vector<std::uint64_t> pixels;  // hash of each clip
  std::uint64_t batches = 0;
  friend bool operator==(const Delivered&, const Delivered&) = default;
};

Delivered take_epoch(Loader& loader, std::size_t lane = 0) {
  Delivered delivered;
  while (auto batch = loader.next(lane)) {
    ++delivered.batches;
    for (std::size_t i = 0; i < batch->size(); ++i) {
      EXPECT_EQ(testing::check_numbered_clip(*batch, i), "");
      delivered.ids.push_back(batch->clips[i].id);
      const auto bytes = batch->clip_bytes(i);
      delivered.pixels.push_back(XXH3_64bits(bytes.data(), bytes.size()));
    }
  }
  return delivered;
}

class LoaderTest : public testing::NumberedShardsTest {
 protected:
  static LoaderOptions options() { return testing::small_options(shards_->paths); }

  static std::uint64_t clips_in(const LoaderOptions& of) {
    std::uint64_t clips = 0;
    for (const int frames : shards_->frames) {
      clips += static_cast<std::uint64_t>(frames) / of.window.num_frames;
    }
    return clips;
  }
};

TEST_F(LoaderTest, EveryClipOnceWithItsFramesAndItsLabel) {
  Loader loader = Loader::open(options());
  const Delivered got = take_epoch(loader);
  EXPECT_EQ(got.ids.size(), clips_in(options()));
  EXPECT_EQ(std::set<ClipId>(got.ids.begin(), got.ids.end()).size(), got.ids.size());
  EXPECT_FALSE(std::is_sorted(got.ids.begin(), got.ids.end()));
  EXPECT_FALSE(loader.next());  // after the last epoch, for ever
  const Metrics metrics = loader.metrics();
  EXPECT_EQ(metrics.samples, 20U);
  EXPECT_EQ(metrics.samples_complete, 20U);
  EXPECT_EQ(metrics.clips, got.ids.size());
  EXPECT_EQ(metrics.clips_cut, got.ids.size());
}

TEST_F(LoaderTest, OrderAndPixelsDoNotDependOnThreads) {
  Loader reference = Loader::open(options());
  const Delivered expected = take_epoch(reference);
  for (const std::uint32_t decode_threads : {1U, 2U, 4U}) {
    for (const std::uint32_t reader_threads : {1U, 4U}) {
      LoaderOptions other = options();
      other.resource.decode_threads = decode_threads;
      other.input.reader_threads = reader_threads;
      other.resource.memory_bytes = "24MiB";  // another read-ahead, the same order
      Loader loader = Loader::open(other);
      EXPECT_EQ(take_epoch(loader), expected) << decode_threads << " x " << reader_threads;
    }
  }
}

TEST_F(LoaderTest, SeedAndEpochChangeTheOrderNotTheSet) {
  LoaderOptions two_epochs = options();
  two_epochs.batch.epochs = 2;
  Loader loader = Loader::open(two_epochs);
  const Delivered first = take_epoch(loader);
  EXPECT_EQ(loader.epoch(), 1U);
  const Delivered second = take_epoch(loader);
  EXPECT_EQ(first.ids.size(), second.ids.size());
  const auto without_epoch = [](const Delivered& of) {
    std::vector<ClipId> ids = of.ids;
    for (ClipId& id : ids) id.epoch = 0;
    return ids;
  };
  EXPECT_NE(without_epoch(first), without_epoch(second));
  for (const ClipId& id : second.ids) EXPECT_EQ(id.epoch, 1U);

  LoaderOptions seeded = options();
  seeded.batch.seed = 7;
  Loader other = Loader::open(seeded);
  EXPECT_NE(take_epoch(other).ids, first.ids);
}

TEST_F(LoaderTest, WithoutShuffleTheOrderIsTheGivenOne) {
  LoaderOptions plain = options();
  plain.batch.shuffle = ShuffleMode::kNone;
  plain.batch.drop_last.reset();
  plain.input.open_shards = 1;
  plain.input.open_videos = 1;
  Loader loader = Loader::open(plain);
  const Delivered got = take_epoch(loader);
  EXPECT_TRUE(std::is_sorted(got.ids.begin(), got.ids.end()));
  EXPECT_EQ(got.ids.size(), clips_in(plain));
}

TEST_F(LoaderTest, DropLastDropsAndCounts) {
  LoaderOptions dropping = options();
  dropping.batch.drop_last = true;
  dropping.batch.batch_size = 7;
  Loader loader = Loader::open(dropping);
  const Delivered got = take_epoch(loader);
  const std::uint64_t all = clips_in(dropping);
  EXPECT_EQ(got.ids.size(), all / 7 * 7);
  const auto dropped = loader.metrics().clips_dropped_by_reason;
  if (all % 7 != 0) {
    EXPECT_EQ(dropped.at("drop_last"), all % 7);
  }
}

// One process with four lanes and four processes with one give the same batches.
TEST_F(LoaderTest, LanesAreRanks) {
  for (const int shard_count : {1, 5}) {
    LoaderOptions lanes = options();
    lanes.input.urls.resize(static_cast<std::size_t>(shard_count));
    lanes.batch.ranks = RankMode::kExact;
    lanes.resource.devices = {"cpu:0", "cpu:1", "cpu:2", "cpu:3"};
    lanes.resource.memory_bytes = "128MiB";
    lanes.resource.shuffle_bytes = "1MiB";
    Loader together = Loader::open(lanes);
    std::vector<Delivered> of_lane(4);
    {
      std::vector<std::jthread> consumers;
      for (std::size_t i = 0; i < 4; ++i) {
        consumers.emplace_back([&, i] { of_lane[i] = take_epoch(together, i); });
      }
    }
    std::set<ClipId> all;
    std::size_t count = 0;
    for (std::uint32_t rank = 0; rank < 4; ++rank) {
      LoaderOptions alone = lanes;
      alone.resource.devices = {"cpu:0"};
      alone.resource.shuffle_bytes = "256KiB";  // a quarter
      alone.batch.rank = rank;
      alone.batch.world_size = 4;
      Loader loader = Loader::open(alone);
      EXPECT_EQ(take_epoch(loader), of_lane[rank]) << rank << " of " << shard_count;
      all.insert(of_lane[rank].ids.begin(), of_lane[rank].ids.end());
      count += of_lane[rank].ids.size();
    }
    EXPECT_EQ(all.size(), count);  // disjoint
    if (shard_count == 5) {
      EXPECT_EQ(count, clips_in(lanes));  // complete
    }
  }
}

TEST_F(LoaderTest, EqualRanksDeliverTheSameNumberOfBatches) {
  for (const std::size_t shard_count : {1U, 2U, 3U, 5U}) {
    for (const std::uint64_t batches : {2U, 9U}) {
      LoaderOptions equal = options();
      equal.input.urls.resize(shard_count);
      equal.batch.world_size = 3;
      equal.batch.batches_per_epoch = batches;
      equal.batch.epochs = 2;
      std::uint64_t repeated = 0;
      for (std::uint32_t rank = 0; rank < 3; ++rank) {
        equal.batch.rank = rank;
        Loader loader = Loader::open(equal);
        for (int epoch = 0; epoch < 2; ++epoch) {
          const Delivered got = take_epoch(loader);
          EXPECT_EQ(got.batches, batches) << shard_count << " shards, rank " << rank;
          EXPECT_EQ(got.ids.size(), batches * equal.batch.batch_size);
        }
        EXPECT_FALSE(loader.next());
        loader.stop();
        const Metrics metrics = loader.metrics();
        repeated += metrics.clips_repeated;
        testing::expect_conserved(metrics);
      }
      if (shard_count == 1 && batches == 9) {
        EXPECT_GT(repeated, 0U);
      }
    }
  }
}

TEST_F(LoaderTest, SetEpochDiscardsWhatWasReadAhead) {
  LoaderOptions endless = options();
  endless.batch.epochs = 0;
  Loader reference = Loader::open(endless);
  reference.set_epoch(5);
  const Delivered expected = take_epoch(reference);
  ASSERT_FALSE(expected.ids.empty());
  EXPECT_EQ(expected.ids.front().epoch, 5U);

  // At any moment, also several times in a row: nothing of the old epochs, all of the new one.
  std::mt19937_64 random(testing::test_seed());
  Loader loader = Loader::open(endless);
  for (std::uint64_t round = 0; round < testing::rounds(200); ++round) {
    for (std::uint64_t i = random() % 30; i > 0; --i) (void)loader.next();
    for (std::uint64_t i = random() % 3; i > 0; --i) loader.set_epoch(random() % 4);
    loader.set_epoch(5);
    ASSERT_EQ(take_epoch(loader), expected);
    EXPECT_EQ(loader.epoch(), 6U);
  }
}

// What is left to deliver is counted from what the consumer took.
TEST_F(LoaderTest, SetEpochDoesNotBringBackEpochsThatWereTaken) {
  LoaderOptions three = options();
  three.batch.epochs = 3;
  Loader loader = Loader::open(three);
  EXPECT_FALSE(take_epoch(loader).ids.empty());
  EXPECT_FALSE(take_epoch(loader).ids.empty());
  loader.set_epoch(9);
  EXPECT_EQ(take_epoch(loader).ids.front().epoch, 9U);
  EXPECT_TRUE(take_epoch(loader).ids.empty());
}

TEST_F(LoaderTest, BatchesMayBeKeptBeyondThePlanAndBeyondTheLoader) {
  std::vector<Batch> kept;
  std::vector<std::string> warnings;
  {
    Loader loader = Loader::open(options(), [&](LogLevel level, std::string_view text) {
      if (level == LogLevel::kWarning) warnings.emplace_back(text);
    });
    while (auto batch = loader.next()) kept.push_back(std::move(*batch));
    EXPECT_GT(loader.metrics().ledger.at("held").now, 0U);
  }
  std::size_t clips = 0;
  for (const Batch& batch : kept) {
    for (std::size_t i = 0; i < batch.size(); ++i) {
      EXPECT_EQ(testing::check_numbered_clip(batch, i), "");
    }
    clips += batch.size();
  }
  EXPECT_EQ(clips, clips_in(options()));
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_NE(warnings[0].find("held_batches"), std::string::npos);
}

TEST_F(LoaderTest, TheLedgerIsEmptyAfterAnEpoch) {
  Loader loader = Loader::open(options());
  take_epoch(loader);
  loader.stop();
  for (const auto& [tag, use] : loader.metrics().ledger) EXPECT_EQ(use.now, 0U) << tag;
}

TEST_F(LoaderTest, PartOfTheWindowsIsChosenByIdentity) {
  LoaderOptions some = options();
  some.window.windows_per_video = 1;
  Loader loader = Loader::open(some);
  const Delivered got = take_epoch(loader);
  EXPECT_EQ(got.ids.size(), 20U);
}

TEST_F(LoaderTest, FilterLeavesOutAndCounts) {
  LoaderOptions some = options();
  some.input.filter = {"min_frames=40", "key=v0*"};
  Loader loader = Loader::open(some);
  const Delivered got = take_epoch(loader);
  const auto passing = std::ranges::count_if(shards_->frames, [](int n) { return n >= 40; });
  const Metrics metrics = loader.metrics();
  EXPECT_EQ(metrics.samples, static_cast<std::uint64_t>(passing));
  EXPECT_EQ(metrics.samples_filtered, 20U - static_cast<std::uint64_t>(passing));
}

// Pixels that are not square, against ffmpeg's own idea of the stream's ratio: told by the
// container, or by the codec alone.
TEST(SampleAspect, AppliedClipsAreWhatFfmpegShows) {
  const std::string source =
      "-f lavfi -i testsrc2=s=96x64:r=10:d=1 -pix_fmt yuv444p -c:v libx264 -crf 4 -colorspace "
      "smpte170m ";
  const std::string untold = testing::make_clip(source + "-vf setsar=0", "mp4");
  const std::string clips[] = {
      testing::make_clip(source + "-vf setsar=4/3", "mp4"),
      testing::make_clip(source + "-vf setsar=2/3", "mkv"),
      testing::make_clip(
          fmt::format("-i '{}' -c copy -bsf:v h264_metadata=sample_aspect_ratio=4/3", untold),
          "mp4")};
  const std::string flags = "flags=bilinear+accurate_rnd+full_chroma_int+full_chroma_inp";
  for (const std::string& clip : clips) {
    for (const ResizeMode mode : {ResizeMode::kFit, ResizeMode::kShortSide}) {
      SCOPED_TRACE(fmt::format("{} {}", clip, static_cast<int>(mode)));
      const bool wide = clip != clips[1];
      const std::string shown =
          mode == ResizeMode::kFit
              ? fmt::format("scale=w={}:h={}:{},setsar=1,pad=64:64:-1:-1",
                            wide ? "64" : "trunc(64*iw*sar/ih+0.5)",
                            wide ? "trunc(64*ih/(iw*sar)+0.5)" : "64", flags)
              : fmt::format("crop=w={}:h={},scale=64:64:{}", wide ? "ih/sar" : "iw",
                            wide ? "ih" : "iw*sar", flags);
      const auto expected = testing::file_content(testing::make_clip(
          fmt::format("-i '{}' -vf \"{}\" -pix_fmt rgb24 -f rawvideo", clip, shown), "raw"));
      std::vector<std::byte> bytes(expected->size());
      ASSERT_EQ(expected->read_at(0, bytes).value(), std::size_t{10} * 64 * 64 * 3);

      ScratchDir dir;
      auto writer = ShardWriter::create({.directory = dir.path().string()}).value();
      const FieldToWrite video{clip.substr(clip.size() - 3), testing::file_content(clip)};
      writer.write("v", {&video, 1}).value();
      LoaderOptions options = testing::small_options({writer.finish().value().at(0).path});
      options.transform.width = options.transform.height = 64;
      options.transform.color = ColorMode::kRgb;
      options.transform.resize_mode = mode;
      options.window.num_frames = 10;
      const auto apart = [&](SampleAspect aspect) {
        options.transform.sample_aspect = aspect;
        Loader loader = Loader::open(options);
        const auto batch = loader.next();
        double squares = 0;
        const auto got = batch->clip_bytes(0);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
          const double one =
              std::to_integer<int>(got[i]) - static_cast<double>(std::to_integer<int>(bytes[i]));
          squares += one * one;
        }
        return 10 * std::log10(255 * 255 * static_cast<double>(bytes.size()) / (squares + 1));
      };
      EXPECT_GT(apart(SampleAspect::kApply), 34);  // scalers differ at the edges of a crop
      EXPECT_LT(apart(SampleAspect::kIgnore), 25);
    }
  }
}

}  // namespace
}  // namespace shardreel
