#include "loader/shuffle/shuffle_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

ClipId id(std::uint64_t n) { return {0, n / 100, n / 10 % 10, n % 10}; }

std::vector<ClipId> run_epoch(ShuffleOrder& order, const std::vector<std::uint64_t>& sizes,
                              std::uint64_t epoch) {
  std::vector<ClipId> out;
  order.begin(epoch);
  for (std::size_t i = 0; i < sizes.size(); ++i) order.feed(id(i), sizes[i], 1, out);
  order.drain(out);
  return out;
}

TEST(ShuffleOrder, NothingLeavesBeforeMinFill) {
  ShuffleOrder order({.capacity_bytes = 1000, .min_fill = 5, .seed = 1});
  std::vector<ClipId> out;
  order.begin(0);
  for (std::uint64_t i = 0; i < 5; ++i) order.feed(id(i), 10, 1, out);
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(order.size(), 5U);
}

TEST(ShuffleOrder, MinFillCountsClipsNotItems) {
  ShuffleOrder order({.capacity_bytes = 1000, .min_fill = 12, .seed = 1});
  std::vector<ClipId> out;
  order.begin(0);
  for (std::uint64_t i = 0; i < 3; ++i) order.feed(id(i), 10, 4, out);  // 12 clips are held
  EXPECT_TRUE(out.empty());
  order.feed(id(3), 10, 4, out);
  EXPECT_EQ(out.size(), 1U);
}

TEST(ShuffleOrder, TwoTiersOfOneSeedDrawDifferently) {
  const std::vector<std::uint64_t> sizes(200, 10);
  ShuffleOrder pixels({.capacity_bytes = 500, .min_fill = 10, .seed = 1});
  ShuffleOrder packets(
      {.capacity_bytes = 500, .min_fill = 10, .seed = 1, .purpose = Purpose::kUnitShuffle});
  EXPECT_NE(run_epoch(pixels, sizes, 0), run_epoch(packets, sizes, 0));
}

TEST(ShuffleOrder, WhileFillingOneLeavesForTwoThatEnter) {
  ShuffleOrder order({.capacity_bytes = 1000, .min_fill = 1, .seed = 1});
  std::vector<ClipId> out;
  order.begin(0);
  for (std::uint64_t i = 0; i < 40; ++i) order.feed(id(i), 10, 1, out);
  EXPECT_EQ(out.size(), 20U);
}

TEST(ShuffleOrder, ALargeItemDisplacesAsManyAsItNeeds) {
  ShuffleOrder order({.capacity_bytes = 100, .min_fill = 1000, .seed = 3});
  std::vector<ClipId> out;
  order.begin(0);
  for (std::uint64_t i = 0; i < 10; ++i) order.feed(id(i), 10, 1, out);
  EXPECT_TRUE(out.empty());
  order.feed(id(10), 35, 1, out);
  EXPECT_EQ(out.size(), 4U);
  EXPECT_EQ(order.held_bytes(), 95U);
  order.feed(id(11), 5, 1, out);  // fits: nothing has to leave
  EXPECT_EQ(out.size(), 4U);
}

TEST(ShuffleOrder, AnItemLargerThanTheBufferPassesThrough) {
  ShuffleOrder order({.capacity_bytes = 100, .min_fill = 1, .seed = 3});
  std::vector<ClipId> out;
  order.begin(0);
  order.feed(id(7), 101, 1, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0], id(7));
  EXPECT_EQ(order.held_bytes(), 0U);
}

// Pins the order for good: a change here changes what every user's seed means.
TEST(ShuffleOrder, OrderOfSeed42) {
  ShuffleOrder order({.capacity_bytes = 50, .min_fill = 3, .seed = 42});
  const auto out = run_epoch(order, std::vector<std::uint64_t>(10, 10), 0);
  std::vector<std::uint64_t> numbers;
  for (const ClipId& clip : out) numbers.push_back(clip.window);
  std::vector<std::uint64_t> sorted = numbers;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, (std::vector<std::uint64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(numbers, (std::vector<std::uint64_t>{2, 4, 3, 6, 8, 7, 5, 0, 1, 9}));
}

TEST(ShuffleOrder, SeedAndEpochChangeTheOrder) {
  const std::vector<std::uint64_t> sizes(200, 10);
  ShuffleOrder one({.capacity_bytes = 500, .min_fill = 10, .seed = 1});
  ShuffleOrder two({.capacity_bytes = 500, .min_fill = 10, .seed = 2});
  EXPECT_EQ(run_epoch(one, sizes, 0), run_epoch(one, sizes, 0));
  EXPECT_NE(run_epoch(one, sizes, 0), run_epoch(one, sizes, 1));
  EXPECT_NE(run_epoch(one, sizes, 0), run_epoch(two, sizes, 0));
}

TEST(ShuffleOrderProperty, GivesEachOnceAndNeverHoldsMoreThanItsBytes) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(2000); ++round) {
    const std::uint64_t capacity = random() % 2000;
    ShuffleOrder order({.capacity_bytes = capacity, .min_fill = random() % 50, .seed = random()});
    order.begin(random());
    std::vector<ClipId> out;
    const std::uint64_t count = random() % 300;
    for (std::uint64_t i = 0; i < count; ++i) {
      order.feed(id(i), random() % 300, 1 + random() % 5, out);
      ASSERT_LE(order.held_bytes(), capacity);
    }
    order.drain(out);
    ASSERT_EQ(out.size(), count);
    ASSERT_EQ(std::set<ClipId>(out.begin(), out.end()).size(), count);
  }
}

TEST(ShuffleOrderProperty, SavedAndRestoredAnywhereItGoesOnTheSame) {
  std::mt19937_64 random(testing::test_seed());
  const auto in_epoch_3 = [](std::uint64_t i) {
    ClipId made = id(i);
    made.epoch = 3;
    return made;
  };
  for (std::uint64_t round = 0; round < testing::rounds(1000); ++round) {
    const ShuffleOrderOptions options{
        .capacity_bytes = 200 + random() % 2000, .min_fill = random() % 40, .seed = random()};
    ShuffleOrder whole(options);
    whole.begin(3);
    const std::uint64_t count = random() % 200;
    const std::uint64_t cut = count == 0 ? 0 : random() % count;
    std::vector<ClipId> expected;
    std::vector<ClipId> got;
    ShuffleOrder resumed(options);
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t bytes = random() % 100, clips = 1 + random() % 4;
      if (i == cut) {
        ASSERT_TRUE(resumed.restore(whole.save()).has_value());
        got = expected;
      }
      whole.feed(in_epoch_3(i), bytes, clips, expected);
      if (i >= cut) resumed.feed(in_epoch_3(i), bytes, clips, got);
    }
    whole.drain(expected);
    resumed.drain(got);
    if (count > 0) {
      ASSERT_EQ(got, expected);
    }
  }
}

TEST(ShuffleOrder, RefusesAStateThatDoesNotFit) {
  ShuffleOrder order({.capacity_bytes = 100, .min_fill = 1, .seed = 3});
  ShuffleOrder other({.capacity_bytes = 200, .min_fill = 1, .seed = 3});
  const auto refused = other.restore(order.save());
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("shuffle_bytes 100"), std::string::npos);
  EXPECT_FALSE(other.restore("nonsense").has_value());
  EXPECT_FALSE(order.restore("3 100 1 3 0 0 0 1 5 1 0 0 0 1000 1").has_value());
}

// Every item should end up anywhere the buffer lets it: a chi-square test over first positions.
TEST(ShuffleOrder, IsUniformWhenAllFits) {
  std::map<std::uint64_t, int> first;
  constexpr int kTrials = 8000;
  for (std::uint64_t seed = 0; seed < kTrials; ++seed) {
    ShuffleOrder order({.capacity_bytes = 80, .min_fill = 100, .seed = seed});
    ++first[run_epoch(order, std::vector<std::uint64_t>(8, 10), 0)[0].window];
  }
  double chi_square = 0;
  for (std::uint64_t i = 0; i < 8; ++i) {
    const double expected = kTrials / 8.0;
    chi_square += (first[i] - expected) * (first[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 24.3);  // 7 degrees of freedom, p = 0.001
}

}  // namespace
}  // namespace shardreel
