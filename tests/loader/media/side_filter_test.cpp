#include "loader/media/side_filter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

/// Weight of every input in output `i`, straight from docs/pixels.md.
std::vector<double> triangle(const FilterSpan& span, std::uint32_t i) {
  const double ratio = span.size / span.to, radius = std::max(1.0, ratio);
  const double centre = span.left + (i + 0.5) * ratio;
  const int from = static_cast<int>(span.from), reach = static_cast<int>(radius) + 3;
  std::vector<double> weights(span.from, 0);
  double sum = 0;
  for (int j = static_cast<int>(std::floor(centre)) - reach; j <= centre + reach; ++j) {
    const double weight = std::max(0.0, 1 - std::fabs(j + 0.5 - centre) / radius);
    const int mirrored = j < 0 ? -1 - j : j >= from ? 2 * from - 1 - j : j;
    weights[static_cast<std::size_t>(std::clamp(mirrored, 0, from - 1))] += weight;
    sum += weight;
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

TEST(SideFilter, IsTheTriangleInIntegers) {
  std::mt19937_64 random(testing::test_seed());
  const auto real = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  SideFilter filter;
  for (std::uint64_t round = testing::rounds(20'000); round > 0; --round) {
    FilterSpan span;
    span.from = static_cast<std::uint32_t>(real(1, random() % 4 == 0 ? 3000 : 100));
    span.to = static_cast<std::uint32_t>(real(1, 300));
    span.size = random() % 4 == 0 ? span.from : real(0.2, 1) * span.from;
    // Chroma may lie up to half a sample beyond its own.
    span.left = real(0, 1) * (span.from - span.size) + real(-0.5, 0.5);
    span.reversed = random() % 2 == 0;
    if (!SideFilter::takes(span)) {
      EXPECT_GT(span.size / span.to, 32);
      continue;
    }
    filter.build(span);
    ASSERT_EQ(filter.span(), span);
    ASSERT_LE(filter.taps(), SideFilter::kMaxTaps);
    ASSERT_LE(filter.end(), span.from);
    for (std::uint32_t i = 0; i < span.to; ++i) {
      const std::vector<double> want = triangle(span, span.reversed ? span.to - 1 - i : i);
      const auto first = static_cast<std::uint32_t>(filter.first()[i]);
      ASSERT_GE(first, filter.begin());
      ASSERT_LE(first + static_cast<std::uint32_t>(filter.taps()), filter.end());
      double all = 0, found = 0;
      const auto taps = static_cast<std::uint32_t>(filter.taps());
      for (std::uint32_t t = 0; t < taps; ++t) {
        const double weight = filter.weights()[i * taps + t] / 65536.0;
        ASSERT_NEAR(weight, want[first + t], 1.1 / 65536) << "output " << i << " tap " << t;
        ASSERT_EQ(filter.doubled_weights()[i * taps + t], filter.weights()[i * taps + t] * 65537U);
        all += weight;
        found += want[first + t];
      }
      ASSERT_NEAR(found, 1, 2.0 / 65536) << "an input was left out";
      ASSERT_NEAR(all, 1, 1.01 / 65536);
    }
  }
}

TEST(SideFilter, GrowsOnlyAndWithinItsBound) {
  std::mt19937_64 random(testing::test_seed());
  SideFilter filter;
  std::uint64_t before = 0;
  for (int i = 0; i < 2000; ++i) {
    FilterSpan span{static_cast<std::uint32_t>(1 + random() % 2000),
                    static_cast<std::uint32_t>(1 + random() % 500), 0, 0, false};
    span.size = span.from;
    if (!SideFilter::takes(span)) continue;
    filter.build(span);
    EXPECT_GE(filter.bytes(), before);
    before = filter.bytes();
    SideFilter fresh;
    fresh.build(span);
    EXPECT_LE(fresh.bytes(), SideFilter::bytes_bound(span.from, span.to));
  }
}

}  // namespace
}  // namespace shardreel
