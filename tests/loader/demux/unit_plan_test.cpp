// Units against their definition: every clip once, in order, and cuts where little is decoded
// twice.

#include "loader/demux/unit_plan.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using testing::rounds;

/// Clips of T frames `stride` apart in a stream with a keyframe every `gop` packets.
std::vector<ClipSpan> regular(std::uint64_t frames, std::uint64_t gop, std::uint64_t length,
                              std::uint64_t stride) {
  std::vector<ClipSpan> clips;
  for (std::uint64_t begin = 0; begin + length <= frames; begin += stride)
    clips.push_back({begin / gop * gop, begin + length});
  return clips;
}

std::uint64_t decoded_twice(std::span<const UnitSpan> units) {
  std::uint64_t twice = 0;
  for (std::size_t i = 1; i < units.size(); ++i)
    twice += units[i - 1].end > units[i].begin ? units[i - 1].end - units[i].begin : 0;
  return twice;
}

TEST(UnitPlan, WholeGroupsOfPicturesWhereTheyFit) {
  // 16-frame clips and keyframes every 32: each unit of 32 clips is 16 whole groups.
  const auto units = plan_unit_spans(regular(2048, 32, 16, 16), 32);
  ASSERT_EQ(units.size(), 4u);
  for (const UnitSpan& unit : units) EXPECT_EQ(unit.end_clip - unit.first_clip, 32u);
  EXPECT_EQ(decoded_twice(units), 0u);
  // Keyframes every 30: the best cut is at 30 clips = 480 frames, not at 32.
  const auto odd = plan_unit_spans(regular(4800, 30, 16, 16), 32);
  EXPECT_EQ(odd.front().end_clip, 30u);
  EXPECT_EQ(decoded_twice(odd), 0u);
}

TEST(UnitPlan, OneUnitWithoutKeyframes) {
  const auto units = plan_unit_spans(regular(100000, 1000000, 16, 16), 32);
  ASSERT_EQ(units.size(), 1u);
  EXPECT_EQ(units[0].end, 100000u);
}

TEST(UnitPlan, LongGroupsGrowBeyondTheLimit) {
  // A group of 1000 frames is 62.5 clips: cuts inside it are dear.
  const auto units = plan_unit_spans(regular(8000, 1000, 16, 16), 32);
  EXPECT_GT(units.front().end_clip, 32u);
  EXPECT_LT(units.front().end_clip, 126u);
}

TEST(UnitPlan, GapsAlwaysCut) {
  const std::vector<ClipSpan> clips{{0, 16}, {16, 40}, {90, 100}, {90, 110}, {500, 510}};
  const auto units = plan_unit_spans(clips, 32);
  ASSERT_EQ(units.size(), 3u);
  EXPECT_EQ(units[0].end, 40u);
  EXPECT_EQ(units[1].begin, 90u);
  EXPECT_EQ(units[1].end, 110u);
}

TEST(UnitPlan, NothingGivesNothing) { EXPECT_TRUE(plan_unit_spans({}, 32).empty()); }

TEST(UnitPlan, EveryClipOnceInOrderAndCutsAreCheap) {
  std::mt19937_64 random(testing::test_seed());
  const auto pick = [&](std::uint64_t low, std::uint64_t high) {
    return std::uniform_int_distribution<std::uint64_t>(low, high)(random);
  };
  for (std::uint64_t round = 0; round < rounds(20000); ++round) {
    // A stream with random keyframes, and clips at random or regular places.
    std::vector<std::uint64_t> keys{0};
    const std::uint64_t packets = pick(1, 600), longest = pick(1, 200);
    while (keys.back() < packets) keys.push_back(keys.back() + pick(1, longest));
    std::vector<ClipSpan> clips;
    const std::uint64_t length = pick(1, 32), stride = pick(1, 64);
    for (std::uint64_t at = 0; at + length <= packets;
         at += stride + (pick(0, 9) ? 0 : pick(0, 99)))
      clips.push_back({*(std::upper_bound(keys.begin(), keys.end(), at) - 1), at + length});
    const auto limit = static_cast<std::uint32_t>(pick(1, 40));
    const auto units = plan_unit_spans(clips, limit);
    std::size_t next = 0;
    for (std::size_t u = 0; u < units.size(); ++u) {
      const UnitSpan& unit = units[u];
      ASSERT_EQ(unit.first_clip, next);
      ASSERT_GT(unit.end_clip, unit.first_clip);
      next = unit.end_clip;
      std::uint64_t begin = UINT64_MAX, end = 0;
      for (std::size_t c = unit.first_clip; c < unit.end_clip; ++c) {
        begin = std::min(begin, clips[c].begin);
        end = std::max(end, clips[c].end);
      }
      ASSERT_EQ(unit.begin, begin);
      ASSERT_EQ(unit.end, end);
      if (next == clips.size()) continue;
      const std::uint64_t again = end > clips[next].begin ? end - clips[next].begin : 0;
      EXPECT_LE(again, (end - begin) / 4) << "a dear cut";
      // Brute force: within the limit no cut decodes less twice, unless all of them are dear.
      if (unit.end_clip - unit.first_clip > limit) continue;
      std::uint64_t reach = 0;
      for (std::size_t c = unit.first_clip; c < clips.size() && c - unit.first_clip < limit; ++c) {
        reach = std::max(reach, clips[c].end);
        if (c + 1 == clips.size() || clips[c + 1].begin >= reach + 4) break;
        EXPECT_LE(again, reach > clips[c + 1].begin ? reach - clips[c + 1].begin : 0);
      }
    }
    ASSERT_EQ(next, clips.size());
  }
}

}  // namespace
}  // namespace shardreel
