// Times against the order that a stream's bits tell, by a model that shuffles frames itself.

#include "loader/demux/display_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using Rule = PictureOrder::Rule;

struct Frame {
  std::int64_t shown = 0;  ///< in the whole stream
  bool closed = false;
  PictureOrder order;
};

/// Frames in decoding order: groups in which each frame overtakes at most 16 others.
std::vector<Frame> shuffled(std::mt19937_64& random, int& held_back) {
  std::vector<Frame> frames;
  held_back = 0;
  const auto groups = 1 + random() % 4;
  for (std::uint64_t group = 0; group < groups; ++group) {
    const auto size = 1 + random() % 40;
    std::vector<std::int64_t> order(size);
    std::iota(order.begin(), order.end(), 0);
    const auto reach = random() % 6;
    for (std::size_t at = 1; at + reach < size; ++at)
      std::swap(order[at], order[at + random() % (reach + 1)]);
    for (std::size_t i = 0; i < size; ++i) {
      int overtaken = 0;
      for (std::size_t j = 0; j < i; ++j) overtaken += order[j] > order[i];
      held_back = std::max(held_back, overtaken);
    }
    const auto first = static_cast<std::int64_t>(frames.size());
    const auto count_step = static_cast<std::int32_t>(1 + random() % 2);
    for (std::size_t i = 0; i < size; ++i)
      frames.push_back({first + order[i],
                        i == 0,
                        {Rule::kCount, static_cast<std::int32_t>(order[i]) * count_step}});
  }
  return frames;
}

DisplayOrder judge(const std::vector<Frame>& frames, bool times_of_decoding) {
  DisplayOrder display;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    PacketEntry entry;
    entry.traits.start = frames[i].closed ? RandomAccessPoint::kClosed : RandomAccessPoint::kNone;
    entry.pts = 512 * (times_of_decoding ? static_cast<std::int64_t>(i) : frames[i].shown);
    display.add(entry, frames[i].order);
  }
  display.finish();
  return display;
}

TEST(DisplayOrder, CountsTellWhetherTimesMislead) {
  std::mt19937_64 random(test_seed());
  int misled = 0;
  for (int round = 0; round < 2000; ++round) {
    int held_back = 0;
    const auto frames = shuffled(random, held_back);
    if (held_back > kMaxReorder) continue;
    const bool reorders =
        !std::is_sorted(frames.begin(), frames.end(),
                        [](const auto& a, const auto& b) { return a.shown < b.shown; });
    const DisplayOrder right = judge(frames, false), wrong = judge(frames, true);
    ASSERT_FALSE(right.times_mislead());
    ASSERT_EQ(right.held_back(), held_back);
    ASSERT_EQ(wrong.times_mislead(), reorders);
    ASSERT_EQ(wrong.held_back(), held_back);
    misled += reorders;
  }
  EXPECT_GT(misled, 500);
}

// B pictures follow the anchor that they are shown before.
TEST(DisplayOrder, BPicturesLieBeforeTheLastAnchor) {
  const std::vector<Frame> frames{{0, true, {Rule::kAnchor}},   {3, false, {Rule::kAnchor}},
                                  {1, false, {Rule::kBetween}}, {2, false, {Rule::kBetween}},
                                  {5, false, {Rule::kAnchor}},  {4, false, {Rule::kBetween}}};
  EXPECT_FALSE(judge(frames, false).times_mislead());
  EXPECT_TRUE(judge(frames, true).times_mislead());
  EXPECT_EQ(judge(frames, true).held_back(), 1);
}

// A picture that is missing, or a count that begins anew unannounced, makes counts come twice.
TEST(DisplayOrder, DamagedRunsAreNotJudged) {
  const std::vector<Frame> twice{{0, true, {Rule::kCount, 0}},  {2, false, {Rule::kCount, 4}},
                                 {1, false, {Rule::kCount, 2}}, {3, false, {Rule::kCount, 0}},
                                 {4, false, {Rule::kCount, 2}}, {5, false, {Rule::kCount, 4}}};
  EXPECT_FALSE(judge(twice, true).times_mislead());
  std::vector<Frame> far{{0, true, {Rule::kCount, 0}}};
  for (int i = 0; i < 20; ++i) far.push_back({i + 1, false, {Rule::kCount, 100 + i}});
  far.push_back({21, false, {Rule::kCount, 1}});  // overtakes twenty
  EXPECT_FALSE(judge(far, true).times_mislead());
  EXPECT_EQ(judge(far, true).held_back(), 0);
}

TEST(DisplayOrder, LongRunsAreJudgedInParts) {
  std::vector<Frame> frames;
  for (std::int64_t i = 0; i < 20'000; i += 2) {
    frames.push_back({i + 1, i == 0, {Rule::kCount, static_cast<std::int32_t>(i + 1)}});
    frames.push_back({i, false, {Rule::kCount, static_cast<std::int32_t>(i)}});
  }
  EXPECT_FALSE(judge(frames, false).times_mislead());
  EXPECT_TRUE(judge(frames, true).times_mislead());
}

// Frames that an edit list hides are held back like others, but their times mean nothing.
TEST(DisplayOrder, TimesOfHiddenFramesAreNotJudged) {
  DisplayOrder display;
  const std::int64_t counts[] = {0, 4, 2, 8, 6}, times[] = {900, 1, 700, 4, 3};
  for (int i = 0; i < 5; ++i) {
    PacketEntry entry;
    entry.traits.start = i == 0 ? RandomAccessPoint::kClosed : RandomAccessPoint::kNone;
    entry.discard = i == 0 || i == 2;
    entry.pts = times[i];
    display.add(entry, {Rule::kCount, static_cast<std::int32_t>(counts[i])});
  }
  display.finish();
  EXPECT_FALSE(display.times_mislead());
  EXPECT_EQ(display.held_back(), 1);
}

TEST(DisplayOrder, NothingIsSaidWithoutTimesOrRules) {
  std::vector<Frame> frames{{1, true, {Rule::kUnknown}}, {0, false, {Rule::kUnknown}}};
  EXPECT_FALSE(judge(frames, false).times_mislead());
  DisplayOrder display;
  for (const std::int32_t count : {0, 4, 2}) {
    PacketEntry entry;
    entry.traits.start = count == 0 ? RandomAccessPoint::kClosed : RandomAccessPoint::kNone;
    display.add(entry, {Rule::kCount, count});
  }
  display.finish();
  EXPECT_FALSE(display.times_mislead());
  EXPECT_EQ(display.held_back(), 1);
}

}  // namespace
}  // namespace shardreel::testing
