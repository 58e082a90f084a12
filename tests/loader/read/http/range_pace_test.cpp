// How ranges grow.

#include "loader/read/http/range_pace.h"

#include <gtest/gtest.h>

namespace shardreel {
namespace {

using std::chrono::steady_clock;

TEST(RangePace, SizesDoubleToTheLargest) {
  RangePace pace(1 << 20, 8);
  std::vector<std::uint64_t> sizes;
  for (int i = 0; i < 6; ++i) sizes.push_back(pace.next_bytes() >> 10);
  EXPECT_EQ(sizes, (std::vector<std::uint64_t>{64, 128, 256, 512, 1024, 1024}));
  pace.jump();
  EXPECT_EQ(pace.next_bytes(), 256U << 10);
}

/// A link where a range takes a round trip plus its share of the rate; the reader is never slower.
std::uint32_t settled(double round_trip, double bytes_per_second, std::uint32_t most) {
  RangePace pace(1 << 20, most);
  auto now = steady_clock::time_point();
  for (int i = 0; i < 400; ++i) {
    const double bytes = 1 << 20;
    const double alone = round_trip + bytes / bytes_per_second;
    const double each = std::max(alone / pace.ranges(), bytes / bytes_per_second);
    now += std::chrono::duration_cast<steady_clock::duration>(std::chrono::duration<double>(each));
    pace.used(1 << 20, true, now);
  }
  return pace.ranges();
}

TEST(RangePace, MoreRangesWhereTheyMakeItFaster) {
  EXPECT_GE(settled(0.5, 100e6, 32), 12U);    // most of the time is waiting for an answer
  EXPECT_EQ(settled(0.0001, 100e6, 32), 2U);  // the link is full
  EXPECT_EQ(settled(0.5, 1e9, 6), 6U);
}

TEST(RangePace, AReaderThatNeverWaitsNeedsNoMore) {
  RangePace pace(1 << 20, 32);
  auto now = steady_clock::time_point();
  for (int i = 0; i < 100; ++i) {
    now += std::chrono::milliseconds(100 - i % 50);
    pace.used(1 << 20, false, now);
  }
  EXPECT_EQ(pace.ranges(), 2U);
}

// The first ranges are small, and faster only because they grow.
TEST(RangePace, GrowingRangesAreNoReasonForMoreOfThem) {
  RangePace pace(4 << 20, 32);
  auto now = steady_clock::time_point();
  std::uint32_t most = 0;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t bytes = pace.next_bytes();
    now += std::chrono::microseconds(500 + bytes / 1000);  // a full link
    pace.used(bytes, true, now);
    most = std::max(most, pace.ranges());
  }
  EXPECT_EQ(pace.ranges(), 2U);
  EXPECT_LE(most, 5U);  // tried while they grew
  EXPECT_EQ(pace.ahead(4 << 20), 1U << 20);
  EXPECT_EQ(pace.ahead(1 << 20), 1U << 20);
}

}  // namespace
}  // namespace shardreel
