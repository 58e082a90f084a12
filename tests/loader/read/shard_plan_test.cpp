#include "loader/read/shard_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

TEST(ShardPlan, WithoutShuffleTheGivenOrder) {
  const ShardShare share = plan_shards(5, ShuffleMode::kNone, 1, 0, 0, 1);
  EXPECT_EQ(share.shards, (std::vector<std::uint64_t>{0, 1, 2, 3, 4}));
  EXPECT_EQ(share.modulo, 1U);
}

// Pins the order for good: a change here changes what every user's seed means.
TEST(ShardPlan, OrderOfSeed0) {
  EXPECT_EQ(plan_shards(8, ShuffleMode::kAll, 0, 0, 0, 1).shards,
            plan_shards(8, ShuffleMode::kShards, 0, 0, 0, 1).shards);
  EXPECT_EQ(plan_shards(8, ShuffleMode::kAll, 0, 0, 0, 1).shards,
            (std::vector<std::uint64_t>{3, 4, 7, 6, 0, 1, 5, 2}));
}

TEST(ShardPlan, SeedAndEpochChangeTheOrder) {
  const auto order = [](std::uint64_t seed, std::uint64_t epoch) {
    return plan_shards(50, ShuffleMode::kAll, seed, epoch, 0, 1).shards;
  };
  EXPECT_NE(order(1, 0), order(2, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_EQ(order(1, 1), order(1, 1));
}

TEST(ShardPlanProperty, RanksAreDisjointAndComplete) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(2000); ++round) {
    const std::uint64_t shards = 1 + random() % 40;
    const std::uint64_t world = 1 + random() % 12;
    const std::uint64_t seed = random();
    std::multiset<std::pair<std::uint64_t, std::uint64_t>> taken;  // shard, sample of the first 24
    for (std::uint64_t rank = 0; rank < world; ++rank) {
      const ShardShare share = plan_shards(shards, ShuffleMode::kAll, seed, 3, rank, world);
      for (const std::uint64_t shard : share.shards) {
        for (std::uint64_t sample = 0; sample < 24; ++sample) {
          if (sample % share.modulo == share.remainder) taken.emplace(shard, sample);
        }
      }
    }
    ASSERT_EQ(taken.size(), shards * 24);
    for (const auto& one : taken) ASSERT_EQ(taken.count(one), 1U);
  }
}

TEST(ShardPlan, AMillionShardsTakeEightBytesEach) {
  const ShardShare share = plan_shards(1'000'000, ShuffleMode::kAll, 1, 0, 3, 8);
  EXPECT_EQ(share.shards.size(), 125'000U);
}

}  // namespace
}  // namespace shardreel
