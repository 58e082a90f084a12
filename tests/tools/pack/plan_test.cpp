#include "tools/pack/plan.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <set>

#include "tests/support/scratch.h"

namespace shardreel::tools {
namespace {

using shardreel::testing::rounds;
using shardreel::testing::test_seed;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PackPlan, ParsesSplits) {
  const auto splits = parse_splits("train=0.8,val=0.1,test=0.1").value();
  ASSERT_EQ(splits.size(), 3U);
  EXPECT_EQ(splits[1].name, "val");
  EXPECT_DOUBLE_EQ(splits[0].share, 0.8);
  for (const char* bad :
       {"", "train", "train=", "train=x", "train=0.5", "train=0.5,train=0.5", "a/b=1", "=1",
        "train=0.5,val=0.6", "train=1.5,val=-0.5", "train=1,", "train=nan,val=0.5"}) {
    EXPECT_FALSE(parse_splits(bad)) << bad;
  }
}

TEST(PackPlan, SplitsHoldTheirSharesAndNeverMove) {
  const auto splits = parse_splits("train=0.7,val=0.2,test=0.1").value();
  std::vector<double> counts(3);
  constexpr int kGroups = 20'000;
  for (int i = 0; i < kGroups; ++i) ++counts[split_of(fmt::format("video {}", i), splits)];
  EXPECT_NEAR(counts[0] / kGroups, 0.7, 0.02);
  EXPECT_NEAR(counts[1] / kGroups, 0.2, 0.02);
  EXPECT_NEAR(counts[2] / kGroups, 0.1, 0.02);
  // XXH64("a") = 0xd24ec4f1a98c6e5b (the hash's own test vectors), so "a" lies at 0.8215.
  EXPECT_EQ(split_of("a", splits), 1U);
  EXPECT_EQ(split_of("a", parse_splits("x=0.83,y=0.17").value()), 0U);
  EXPECT_EQ(split_of("a", parse_splits("x=0.82,y=0.18").value()), 1U);
  EXPECT_EQ(split_of("anything", {}), 0U);
}

TEST(PackPlan, GroupsByKeyOrFolder) {
  EXPECT_EQ(group_of("a/b/c", false), "a/b/c");
  EXPECT_EQ(group_of("a/b/c", true), "a/b");
  EXPECT_EQ(group_of("c", true), "");
}

TEST(PackPlan, ShufflingIsAFunctionOfSeedAndKeys) {
  std::vector<std::string> names;
  for (int i = 0; i < 500; ++i) names.push_back(fmt::format("k{}", i));
  const std::vector<std::string_view> keys(names.begin(), names.end());
  const auto order = shuffled_order(keys, 7);
  EXPECT_EQ(std::set<std::size_t>(order.begin(), order.end()).size(), keys.size());
  EXPECT_NE(order, shuffled_order(keys, 8));
  // The order of two keys does not depend on the others, nor on where they were listed.
  std::vector<std::string_view> backwards(keys.rbegin(), keys.rend());
  backwards.resize(250);
  std::vector<std::string_view> expected, actual;
  for (const std::size_t i : order) {
    if (i >= 250) expected.push_back(keys[i]);
  }
  for (const std::size_t i : shuffled_order(backwards, 7)) actual.push_back(backwards[i]);
  EXPECT_EQ(actual, expected);
}

TEST(PackPlan, TasksTakeEverythingOnce) {
  for (const std::size_t n : {0U, 1U, 5U, 97U}) {
    for (const std::uint32_t count : {1U, 2U, 4U, 7U, 200U}) {
      std::size_t next = 0;
      for (std::uint32_t i = 0; i < count; ++i) {
        const auto [begin, end] = task_slice(n, i, count);
        EXPECT_EQ(begin, next);
        EXPECT_LE(end - begin, n / count + 1);
        next = end;
      }
      EXPECT_EQ(next, n);
    }
  }
}

TEST(PackPlan, BalancingKeepsTheLimitsAndEvensOut) {
  std::mt19937_64 random(test_seed());
  for (std::uint64_t round = 0; round < rounds(2000); ++round) {
    std::vector<Load> loads(random() % 200);
    for (Load& load : loads) {
      load = {random() % 1000, static_cast<double>(random() % 5000)};
    }
    const ShardLimits limits{random() % 3 == 0 ? 0 : 1 + random() % 20,
                             random() % 3 == 0 ? 0 : 1 + random() % 5000};
    const auto shards = balance(loads, limits);
    EXPECT_EQ(shards, balance(loads, limits));
    std::vector<std::size_t> seen;
    for (const auto& shard : shards) {
      ASSERT_FALSE(shard.empty());
      EXPECT_TRUE(std::is_sorted(shard.begin(), shard.end()));
      std::uint64_t bytes = 0;
      for (const std::size_t i : shard) bytes += loads[i].payload_bytes;
      if (limits.samples > 0) {
        EXPECT_LE(shard.size(), limits.samples);
      }
      if (limits.bytes > 0 && shard.size() > 1) {
        EXPECT_LE(bytes, limits.bytes);
      }
      seen.insert(seen.end(), shard.begin(), shard.end());
    }
    std::sort(seen.begin(), seen.end());
    std::vector<std::size_t> all(loads.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    ASSERT_EQ(seen, all);
  }
  // Many samples of mixed weights: the heaviest shard is within a percent of the lightest.
  std::vector<Load> loads(1000);
  for (Load& load : loads) load = {1, static_cast<double>(1 + random() % 100)};
  std::vector<double> sums;
  for (const auto& shard : balance(loads, {125, 0})) {
    double sum = 0;
    for (const std::size_t i : shard) sum += loads[i].weight;
    sums.push_back(sum);
  }
  EXPECT_EQ(sums.size(), 8U);
  const auto [least, most] = std::minmax_element(sums.begin(), sums.end());
  EXPECT_LT(*most - *least, 0.01 * *most);
}

}  // namespace
}  // namespace shardreel::tools
