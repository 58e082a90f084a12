// The packets' domain: another order, the same clips, pixel for pixel; conserved and bounded in
// every way the frames' domain is.

#include "loader/pipeline/packet_tier.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <algorithm>
#include <map>
#include <random>

#include "loader/pipeline/choose_domain.h"
#include "shardreel/loader.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

using testing::expect_accounted;
using testing::make_numbered_shards;
using testing::NumberedShards;
using testing::ScratchDir;

using Clips = std::vector<std::pair<ClipId, std::uint64_t>>;  // with a hash of the pixels

class PacketsDomain : public testing::NumberedShardsTest {
 protected:
  static LoaderOptions options(ShuffleDomain domain = ShuffleDomain::kPackets) {
    LoaderOptions options = testing::small_options(shards_->paths);
    options.window.window_stride = 5;  // windows overlap: clips share frames
    options.resource.shuffle_domain = domain;
    return options;
  }

  static Clips take_epoch(Loader& loader, std::size_t lane = 0) {
    Clips clips;
    while (auto batch = loader.next(lane)) {
      for (std::size_t i = 0; i < batch->size(); ++i) {
        EXPECT_EQ(testing::check_numbered_clip(*batch, i), "");
        const auto bytes = batch->clip_bytes(i);
        clips.emplace_back(batch->clips[i].id, XXH3_64bits(bytes.data(), bytes.size()));
      }
    }
    return clips;
  }

  static Clips run(const LoaderOptions& options) {
    Loader loader = Loader::open(options);
    Clips clips = take_epoch(loader);
    loader.stop();
    expect_accounted(loader.metrics());
    return clips;
  }
};

TEST_F(PacketsDomain, GivesTheFramesDomainsClipsInAnotherOrder) {
  for (const std::uint32_t windows : {0U, 1U, 3U}) {
    LoaderOptions packets = options(), frames = options(ShuffleDomain::kFrames);
    packets.window.windows_per_video = frames.window.windows_per_video = windows;
    Clips got = run(packets), expected = run(frames);
    EXPECT_NE(got, expected);
    std::ranges::sort(got);
    std::ranges::sort(expected);
    EXPECT_EQ(got, expected) << windows;
  }
}

TEST_F(PacketsDomain, OrderDoesNotDependOnThreadsOrMemory) {
  const Clips expected = run(options());
  for (const std::uint32_t threads : {1U, 4U}) {
    LoaderOptions other = options();
    other.resource.decode_threads = threads;
    other.input.reader_threads = threads;
    other.resource.memory_bytes = "24MiB";
    EXPECT_EQ(run(other), expected) << threads;
  }
}

// A tier so small that most units are too large for it, one that holds everything, and between.
TEST_F(PacketsDomain, ATierOfAnySizeLosesNothing) {
  Clips expected = run(options(ShuffleDomain::kFrames));
  std::ranges::sort(expected);
  for (const char* bytes : {"1KiB", "64KiB", "200KiB", "700KiB", "16MiB"}) {
    LoaderOptions sized = options();
    sized.resource.shuffle_bytes = bytes;
    Loader loader = Loader::open(sized);
    Clips got = take_epoch(loader);
    loader.stop();
    const Metrics metrics = loader.metrics();
    expect_accounted(metrics);
    const std::uint64_t tier = std::stoull(loader.options().resource.shuffle_bytes);
    EXPECT_LE(metrics.ledger.at("packets").peak, tier + (8 << 20)) << bytes;
    EXPECT_LE(metrics.peak_shuffle_clips, metrics.clips);
    if (tier == 16 << 20) {
      EXPECT_GT(metrics.peak_shuffle_clips, metrics.clips / 2);  // while filling, half leave
    }
    std::ranges::sort(got);
    EXPECT_EQ(got, expected) << bytes;
  }
}

TEST_F(PacketsDomain, OneWindowAVideoNeedsNoPixelTier) {
  LoaderOptions sparse = options();
  sparse.window.windows_per_video = 1;
  Loader loader = Loader::open(sparse);
  EXPECT_EQ(take_epoch(loader).size(), 20U);
  const Metrics metrics = loader.metrics();
  EXPECT_GT(metrics.ledger.at("packets").peak, 0U);
}

TEST_F(PacketsDomain, EpochsDifferAndSetEpochComesAgain) {
  LoaderOptions endless = options();
  endless.batch.epochs = 0;
  Loader loader = Loader::open(endless);
  const Clips first = take_epoch(loader);
  const Clips second = take_epoch(loader);
  EXPECT_EQ(first.size(), second.size());
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(100); ++round) {
    for (std::uint64_t i = random() % 30; i > 0; --i) (void)loader.next();
    loader.set_epoch(1);
    ASSERT_EQ(take_epoch(loader), second);
  }
}

TEST_F(PacketsDomain, LanesAreRanksAndEqualRanksEndTogether) {
  LoaderOptions lanes = options();
  lanes.resource.devices = {"cpu:0", "cpu:1"};
  lanes.batch.batches_per_epoch = 11;
  Loader both = Loader::open(lanes);
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    LoaderOptions single = options();
    single.batch.world_size = 2;
    single.batch.rank = rank;
    single.batch.batches_per_epoch = 11;
    single.resource.shuffle_bytes = "512KiB";  // a lane's part
    const Clips alone = run(single);
    EXPECT_EQ(alone.size(), 44U);
    EXPECT_EQ(take_epoch(both, rank), alone);
  }
  both.stop();
  expect_accounted(both.metrics());
}

TEST(ChooseDomain, OneWindowAVideoIsPacketsAndWithoutShuffleFrames) {
  LoaderOptions options;
  options.input.urls = {"missing.tar"};
  const auto shards = ShardList::parse(options.input.urls);
  options.window.windows_per_video = 1;
  EXPECT_EQ(choose_domain(options, *shards).domain, ShuffleDomain::kPackets);
  options.batch.shuffle = ShuffleMode::kShards;
  EXPECT_EQ(choose_domain(options, *shards).domain, ShuffleDomain::kFrames);
}

TEST(ChooseDomain, WhatCannotBeLookedAtIsFrames) {
  for (const char* url : {"missing.tar", "-", "pipe:cat x.tar", "s3://bucket/x.tar", "/dev/null"}) {
    LoaderOptions options;
    options.input.urls = {url};
    const auto choice = choose_domain(options, *ShardList::parse(options.input.urls));
    EXPECT_EQ(choice.domain, ShuffleDomain::kFrames) << url;
    EXPECT_NE(choice.why.find(url), std::string::npos) << choice.why;
  }
}

TEST(ChooseDomain, LooksAtWhatPacketsWouldTake) {
  ScratchDir dir;
  const auto shards = make_numbered_shards(dir, 1, 4);
  LoaderOptions options;
  options.input.urls = shards.paths;
  options.window.num_frames = 8;
  const auto list = ShardList::parse(options.input.urls);
  EXPECT_EQ(choose_domain(options, *list).domain, ShuffleDomain::kPackets);
  // Clips of 16 pixels are smaller than what they are made of.
  options.transform.width = options.transform.height = 4;
  const auto tiny = choose_domain(options, *list);
  EXPECT_EQ(tiny.domain, ShuffleDomain::kFrames) << tiny.why;
}

}  // namespace
}  // namespace shardreel
