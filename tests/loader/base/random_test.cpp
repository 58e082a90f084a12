#include "loader/base/random.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>
#include <set>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

// Literal values: every order and crop ever delivered depends on them. Worked out apart from this
// code, with Python's integers.
TEST(Random, NeverChanges) {
  EXPECT_EQ(mix64(0), 0U);
  EXPECT_EQ(mix64(1), 0x5692161d100b05e5ULL);
  // The first two outputs of splitmix64 seeded with 0 are mix64 of multiples of the golden gamma.
  EXPECT_EQ(mix64(0x9e3779b97f4a7c15ULL), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(mix64(2 * 0x9e3779b97f4a7c15ULL), 0x6e789e6aa1b965f4ULL);
  EXPECT_EQ(keyed_hash(0, Purpose::kShardOrder, {}), 0x47a64b6263c34241ULL);
  EXPECT_EQ(keyed_hash(7, Purpose::kWindowChoice, {0, 1, 2, 3}), 0x5e204d58aa4b0078ULL);
  EXPECT_EQ(keyed_hash(std::numeric_limits<std::uint64_t>::max(), Purpose::kFlip,
                       {std::numeric_limits<std::uint64_t>::max()}),
            0x5459ce40a707fa68ULL);
}

TEST(Random, KeyIsFoldedPartByPart) {
  const auto by_hand = [](std::uint64_t seed, std::uint64_t purpose, std::uint64_t a,
                          std::uint64_t b) {
    std::uint64_t state = mix64(seed + 0x9e3779b97f4a7c15ULL);
    state = mix64(state ^ (purpose * 0xd1342543de82ef95ULL));
    state = mix64(state * 0x9e3779b97f4a7c15ULL + a + 1);
    return mix64(state * 0x9e3779b97f4a7c15ULL + b + 1);
  };
  EXPECT_EQ(keyed_hash(5, Purpose::kCropX, {8, 9}), by_hand(5, 4, 8, 9));
}

TEST(Random, EveryPartOfTheKeyMatters) {
  std::set<std::uint64_t> seen;
  std::size_t made = 0;
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    for (std::uint64_t purpose = 1; purpose <= 8; ++purpose) {
      for (std::uint64_t a = 0; a < 8; ++a) {
        for (std::uint64_t b = 0; b < 8; ++b) {
          seen.insert(keyed_hash(seed, static_cast<Purpose>(purpose), {a, b}));
          ++made;
        }
      }
    }
  }
  seen.insert(keyed_hash(0, Purpose::kFlip, {0}));  // a shorter key is another key
  EXPECT_EQ(seen.size(), made + 1);
}

TEST(Random, BoundedAndUnitIntervalCoverTheirRange) {
  EXPECT_EQ(bounded(0, 10), 0U);
  EXPECT_EQ(bounded(std::numeric_limits<std::uint64_t>::max(), 10), 9U);
  EXPECT_EQ(bounded(0x8000000000000000ULL, 10), 5U);
  EXPECT_EQ(unit_interval(0), 0.0);
  EXPECT_EQ(unit_interval(0x8000000000000000ULL), 0.5);
  EXPECT_LT(unit_interval(std::numeric_limits<std::uint64_t>::max()), 1.0);
}

// Chi-squared of 16 bins over consecutive keys, the worst case for a weak mixer. 15 degrees of
// freedom: 50 is exceeded once in 10^5.
TEST(Random, ConsecutiveKeysAreUniform) {
  const std::uint64_t seed = testing::test_seed();
  constexpr std::size_t kDraws = 64'000;
  std::array<double, 16> bins{};
  double mean = 0;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    const std::uint64_t bits = keyed_hash(seed, Purpose::kClipShuffle, {0, 0, i, 0});
    bins[bounded(bits, bins.size())] += 1;
    mean += unit_interval(bits) / kDraws;
  }
  double chi = 0;
  constexpr double kExpected = kDraws / 16.0;
  for (const double n : bins) chi += (n - kExpected) * (n - kExpected) / kExpected;
  EXPECT_LT(chi, 50);
  EXPECT_NEAR(mean, 0.5, 0.006);
}

}  // namespace
}  // namespace shardreel
