// Several lanes in one process: each gives what a process of its own would give, and one that
// stands still holds nobody up.
#include <gtest/gtest.h>
#include <xxhash.h>

#include <atomic>
#include <set>
#include <thread>

#include "shardreel/loader.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

using testing::ScratchDir;

/// Clips of one epoch in order, with their batch and the hash of their pixels.
struct Seen {
  ClipId id;
  std::uint64_t batch = 0, pixels = 0;
  friend bool operator==(const Seen&, const Seen&) = default;
};

std::vector<Seen> take_epoch(Loader& loader, std::size_t lane) {
  std::vector<Seen> all;
  while (auto batch = loader.next(lane)) {
    for (std::size_t i = 0; i < batch->size(); ++i) {
      EXPECT_EQ(testing::check_numbered_clip(*batch, i), "");
      const auto bytes = batch->clip_bytes(i);
      all.push_back({batch->clips[i].id, batch->index, XXH3_64bits(bytes.data(), bytes.size())});
    }
  }
  return all;
}

LoaderOptions lane_options(const std::vector<std::string>& urls, std::size_t lanes,
                           std::uint64_t shuffle_kib_of_a_lane) {
  LoaderOptions options = testing::small_options(urls);
  options.batch.ranks = RankMode::kExact;
  options.resource.devices.clear();
  for (std::size_t i = 0; i < lanes; ++i)
    options.resource.devices.push_back("cpu:" + std::to_string(i));
  options.resource.memory_bytes = std::to_string(32 + 24 * lanes) + "MiB";
  options.resource.shuffle_bytes = std::to_string(shuffle_kib_of_a_lane * lanes) + "KiB";
  options.resource.min_fill = 6;
  return options;
}

TEST(Lanes, EachGivesTheBatchesOfAProcessOfItsOwn) {
  ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 9, 24);
  for (const std::size_t lanes : {1U, 2U, 4U, 8U}) {
    std::vector<std::vector<Seen>> together(lanes);
    {
      Loader loader = Loader::open(lane_options(shards.paths, lanes, 256));
      std::vector<std::jthread> consumers;
      for (std::size_t i = 0; i < lanes; ++i)
        consumers.emplace_back([&, i] { together[i] = take_epoch(loader, i); });
    }
    std::set<ClipId> all;
    std::size_t count = 0;
    for (std::size_t i = 0; i < lanes; ++i) {
      LoaderOptions alone = lane_options(shards.paths, 1, 256);
      alone.batch.rank = static_cast<std::uint32_t>(i);
      alone.batch.world_size = static_cast<std::uint32_t>(lanes);
      Loader loader = Loader::open(alone);
      EXPECT_EQ(take_epoch(loader, 0), together[i]) << "lane " << i << " of " << lanes;
      count += together[i].size();
      for (const Seen& seen : together[i]) all.insert(seen.id);
    }
    EXPECT_EQ(all.size(), count) << "every clip once";
    EXPECT_GT(count, 24U);
  }
}

TEST(Lanes, AnEpochIsSetForOneAlone) {
  ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 4, 12);
  const LoaderOptions options = lane_options(shards.paths, 2, 256);
  std::vector<Seen> undisturbed;
  {
    Loader loader = Loader::open(options);
    undisturbed = take_epoch(loader, 1);
  }
  Loader loader = Loader::open(options);
  auto first = loader.next(1);
  ASSERT_TRUE(first);
  const std::size_t taken = first->size();
  first.reset();
  for (const std::uint64_t epoch : {0, 3, 1}) {  // behind the only one of `epochs`, too
    if (epoch > 0) loader.set_epoch(epoch, 0);
    const auto seen = take_epoch(loader, 0);
    ASSERT_FALSE(seen.empty());
    for (const Seen& clip : seen) EXPECT_EQ(clip.id.epoch, epoch);
  }
  undisturbed.erase(undisturbed.begin(), undisturbed.begin() + static_cast<std::ptrdiff_t>(taken));
  EXPECT_EQ(take_epoch(loader, 1), undisturbed);
  EXPECT_THROW(loader.set_epoch(0, 2), ShardreelError);
}

// Stronger than any rate: whatever a lane's consumer does, the others come to the end.
TEST(Lanes, OneThatStandsStillHoldsNobodyUp) {
  ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 8, 24);
  for (const ShuffleDomain domain : {ShuffleDomain::kFrames, ShuffleDomain::kPackets}) {
    for (const std::size_t lanes : {2U, 4U}) {
      for (std::size_t still = 0; still < lanes; still += lanes - 1) {
        LoaderOptions options = lane_options(shards.paths, lanes, 512);
        options.resource.shuffle_domain = domain;
        Loader loader = Loader::open(options);
        std::atomic<std::size_t> clips{0};
        {
          std::vector<std::jthread> consumers;
          for (std::size_t i = 0; i < lanes; ++i) {
            if (i != still)
              consumers.emplace_back([&, i] { clips += take_epoch(loader, i).size(); });
          }
        }
        EXPECT_GT(clips, 0U);
        const std::size_t others = clips;
        clips += take_epoch(loader, still).size();
        EXPECT_GT(clips, others) << "and its own clips are all there";
        EXPECT_EQ(loader.metrics().clips, clips);
        EXPECT_EQ(loader.metrics().clips_cut, clips);
      }
    }
  }
}

}  // namespace
}  // namespace shardreel
