#include "loader/window/clip_cutter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <set>

#include "loader/device/host_device.h"
#include "shardreel/units.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

/// Writes the frame's number (kept in its pts) into every byte of the slot. Some frames are a
/// device's, whose memory is the host's.
class NumberConverter final : public FrameConverter {
 public:
  Result<void> convert(const AVFrame& frame, const FrameGeometry&,
                       std::span<std::byte> slot) override {
    std::memset(slot.data(), static_cast<int>(frame.pts), slot.size());
    ++converted;
    return {};
  }
  [[nodiscard]] bool is_on_device(const AVFrame& frame) const override {
    return of_device.contains(frame.pts);
  }
  Result<void> convert_there(const AVFrame& frame, const FrameGeometry&, std::byte* slot) override {
    if (converted == fails_behind) {
      fails_behind = -1;
      return Error{.code = ErrorCode::kMemory, .message = "once"};
    }
    std::memset(slot, static_cast<int>(frame.pts), 64);
    ++converted;
    return {};
  }
  [[nodiscard]] std::uint64_t scratch_bytes() const noexcept override { return 0; }
  int converted = 0;
  int fails_behind = -1;  // conversions on the device
  std::set<std::int64_t> of_device;
};

GovernorOptions generous() {
  GovernorOptions rules;
  rules.reserve_bytes = 0;
  rules.budget_bytes = 1_MiB;
  return rules;
}

struct Cutting {
  explicit Cutting(std::vector<std::vector<std::int64_t>> windows)
      : pool(64 * 64, 64),
        device_clips(
            DeviceClips::make(HostDevice::make(0), governor, 64 * 64, 1_MiB, pool).value()) {
    governor->reading(governor_now(), 1_GiB);
    options.transform.width = options.transform.height = 8;
    options.transform.color = ColorMode::kGray;
    fields = std::make_shared<SampleFields>();
    context.options = &options;
    context.sample = fields;
    unit.parameters = std::make_shared<StreamParameters>();
    for (auto& frames : windows) {
      unit.pts_seconds.emplace_back(frames.begin(), frames.end());
      unit.windows.push_back({unit.windows.size(), std::move(frames)});
    }
  }

  /// Give the frames to a cutter, ascending; `corrupt` ones flagged.
  void run(const std::set<std::int64_t>& frames, const std::set<std::int64_t>& corrupt = {}) {
    ClipCutter cutter(
        unit, context, converter,
        [this](const AVFrame& first) -> Result<ClipMemory> {
          held = std::max(held, pool.in_use() + 1);
          ClipMemory memory;
          if (converter.is_on_device(first)) memory.on_device = device_clips->take();
          if (!memory.on_device) memory.block = pool.take();
          return memory;
        },
        [this](std::size_t clip, ClipResult result) {
          EXPECT_EQ(clip, results.size()) << "not in order";
          results.push_back(std::move(result));
        });
    AVFramePtr frame(av_frame_alloc());
    frame->width = frame->height = 16;
    for (const std::int64_t number : frames) {
      WantedFrame wanted{number, number, {}};
      for (std::uint32_t c = 0; c < unit.windows.size(); ++c) {
        const auto& slots = unit.windows[c].frames;
        for (std::uint32_t s = 0; s < slots.size(); ++s) {
          if (slots[s] == number) wanted.slots.push_back({c, s});
        }
      }
      if (wanted.slots.empty()) continue;
      frame->pts = number;
      ASSERT_TRUE(cutter.frame(*frame, wanted, corrupt.contains(number)));
    }
    cutter.finish(std::nullopt);
  }

  std::vector<int> numbers(std::size_t clip) {
    std::vector<int> shown;
    Clip& made = *results[clip].clip;
    if (made.on_device) made.pixels = made.on_device->take_down().value();
    const auto& info = made.info;
    for (std::size_t t = 0; t < info.frame_index.size(); ++t) {
      shown.push_back(std::to_integer<int>(made.pixels.bytes()[t * 64 + 63]));
      EXPECT_EQ(info.frame_index[t], shown.back());
      EXPECT_EQ(info.pts_seconds[t], shown.back());
    }
    return shown;
  }

  LoaderOptions options;
  BlockPool pool;
  std::shared_ptr<Governor> governor = std::make_shared<Governor>(generous());
  std::unique_ptr<DeviceClips> device_clips;
  std::shared_ptr<SampleFields> fields;
  ClipContext context;
  Unit unit;
  NumberConverter converter;
  std::vector<ClipResult> results;
  std::size_t held = 0;
};

std::set<std::int64_t> range(std::int64_t begin, std::int64_t end) {
  std::set<std::int64_t> frames;
  for (; begin < end; ++begin) frames.insert(begin);
  return frames;
}

TEST(ClipCutter, FillsEverySlotAndHoldsOnlyWhatIsBeingMade) {
  Cutting cutting({{0, 1, 2}, {3, 4, 5}, {6, 7, 8}});
  cutting.run(range(0, 9));
  ASSERT_EQ(cutting.results.size(), 3U);
  EXPECT_EQ(cutting.numbers(2), (std::vector<int>{6, 7, 8}));
}

TEST(ClipCutter, AFrameOfOverlappingWindowsIsConvertedOnce) {
  Cutting cutting({{0, 1, 2, 3}, {1, 2, 3, 4}, {2, 3, 4, 5}});
  cutting.run(range(0, 6));
  EXPECT_EQ(cutting.converter.converted, 6);
  EXPECT_EQ(cutting.numbers(1), (std::vector<int>{1, 2, 3, 4}));
}

TEST(ClipCutter, RepeatedFramesOfAShortVideo) {
  Cutting cutting({{0, 1, 2, 0, 1, 2, 0, 1}});
  cutting.run(range(0, 3));
  EXPECT_EQ(cutting.numbers(0), (std::vector<int>{0, 1, 2, 0, 1, 2, 0, 1}));
}

TEST(ClipCutter, MissingFramesFollowThePolicy) {
  for (const auto& [policy, expected] : std::vector<std::pair<ShortPolicy, std::vector<int>>>{
           {ShortPolicy::kRepeatLast, {0, 1, 1, 1}}, {ShortPolicy::kLoop, {0, 1, 0, 1}}}) {
    for (const bool device : {false, true}) {
      Cutting cutting({{0, 1, 2, 3}});
      if (device) cutting.converter.of_device = {0, 1};
      cutting.options.window.short_policy = policy;
      cutting.run(range(0, 2));
      ASSERT_TRUE(cutting.results[0].clip);
      EXPECT_TRUE(cutting.results[0].padded);
      EXPECT_EQ(cutting.numbers(0), expected);
    }
  }
  Cutting dropping({{0, 1, 2, 3}});
  dropping.run(range(0, 2));
  ASSERT_TRUE(dropping.results[0].lost);
  EXPECT_EQ(dropping.results[0].lost->code, ErrorCode::kIncompleteWindow);
  EXPECT_NE(dropping.results[0].lost->message.find("2 of 4"), std::string::npos);
  EXPECT_EQ(dropping.pool.in_use(), 0U);
}

TEST(ClipCutter, AClipThatADeviceMadeStaysThere) {
  Cutting cutting({{0, 1}, {2, 3}});
  cutting.converter.of_device = {0, 1, 2};
  cutting.run(range(0, 4));
  EXPECT_TRUE(cutting.results[0].clip->on_device);
  EXPECT_FALSE(cutting.results[1].clip->on_device) << "the host made its end";
  EXPECT_EQ(cutting.numbers(0), (std::vector<int>{0, 1}));
  EXPECT_EQ(cutting.numbers(1), (std::vector<int>{2, 3}));
}

// A frame that failed for the second of its clips is decoded again, for both.
TEST(ClipCutter, AFrameThatComesAgainCountsOnce) {
  Cutting cutting({{0, 1, 2}, {1, 2, 3}});
  cutting.converter.of_device = range(0, 4);
  cutting.converter.fails_behind = 2;
  ClipCutter cutter(
      cutting.unit, cutting.context, cutting.converter,
      [&](const AVFrame&) -> Result<ClipMemory> {
        ClipMemory memory;
        memory.on_device = cutting.device_clips->take();
        return memory;
      },
      [&](std::size_t, ClipResult result) { cutting.results.push_back(std::move(result)); });
  AVFramePtr frame(av_frame_alloc());
  frame->width = frame->height = 16;
  const auto give = [&](std::int64_t number, std::vector<SlotRef> slots) {
    frame->pts = number;
    return cutter.frame(*frame, {number, number, std::move(slots)}, false).has_value();
  };
  EXPECT_TRUE(give(0, {{0, 0}}));
  EXPECT_FALSE(give(1, {{0, 1}, {1, 0}}));
  EXPECT_TRUE(give(1, {{0, 1}, {1, 0}}));
  EXPECT_TRUE(give(2, {{0, 2}, {1, 1}}));
  EXPECT_TRUE(give(3, {{1, 2}}));
  ASSERT_EQ(cutting.results.size(), 2U);
  EXPECT_EQ(cutting.numbers(0), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(cutting.numbers(1), (std::vector<int>{1, 2, 3}));
}

TEST(ClipCutter, CorruptClipsAreLostUnderStrictAndMarkedUnderCompat) {
  Cutting strict({{0, 1}, {2, 3}});
  strict.run(range(0, 4), {1});
  EXPECT_EQ(strict.results[0].lost->code, ErrorCode::kDecodeError);
  EXPECT_TRUE(strict.results[1].clip);
  Cutting compat({{0, 1}, {2, 3}});
  compat.options.input.integrity = Integrity::kCompat;
  compat.run(range(0, 4), {1});
  EXPECT_TRUE(compat.results[0].clip->info.corrupt);
  EXPECT_FALSE(compat.results[1].clip->info.corrupt);
}

// Timestamps that lie about the order of display: a frame that comes too late finds its clip gone.
TEST(ClipCutter, ALateFrameOfAClipThatWasGivenUpIsPassedOver) {
  Cutting cutting({{0, 1}, {2, 3}});
  ClipCutter cutter(
      cutting.unit, cutting.context, cutting.converter,
      [&](const AVFrame&) -> Result<ClipMemory> {
        ClipMemory memory;
        memory.block = cutting.pool.take();
        return memory;
      },
      [&](std::size_t, ClipResult result) { cutting.results.push_back(std::move(result)); });
  AVFramePtr frame(av_frame_alloc());
  frame->width = frame->height = 16;
  for (const std::int64_t number : {0, 2, 1, 3}) {
    const auto slot = static_cast<std::uint32_t>(number % 2);
    frame->pts = number;
    ASSERT_TRUE(cutter.frame(
        *frame, {number, number, {{static_cast<std::uint32_t>(number / 2), slot}}}, false));
  }
  cutter.finish(std::nullopt);
  ASSERT_EQ(cutting.results.size(), 2U);
  EXPECT_TRUE(cutting.results[0].lost);
  EXPECT_EQ(cutting.numbers(1), (std::vector<int>{2, 3}));
}

// Whatever frames come out: every window is given once, in order, and lost exactly when it must be;
// nothing that can no longer be completed holds memory.
TEST(ClipCutterProperty, EveryWindowOnceWhateverComesOut) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(2000); ++round) {
    const auto length = static_cast<std::int64_t>(1 + random() % 5);
    const auto step = static_cast<std::int64_t>(1 + random() % 3);
    const auto stride = static_cast<std::int64_t>(1 + random() % 8);
    std::vector<std::vector<std::int64_t>> windows;
    for (std::int64_t w = 0; w < static_cast<std::int64_t>(1 + random() % 8); ++w) {
      windows.emplace_back();
      for (std::int64_t t = 0; t < length; ++t) windows.back().push_back(w * stride + t * step);
    }
    Cutting cutting(windows);
    std::set<std::int64_t> frames;
    const bool device = random() % 2 == 0;
    for (const std::int64_t frame : range(0, 80)) {
      if (random() % 6 != 0) frames.insert(frame);
      if (device && random() % 8 != 0) cutting.converter.of_device.insert(frame);
    }
    cutting.run(frames);
    ASSERT_EQ(cutting.results.size(), windows.size());
    std::size_t complete = 0;
    for (std::size_t w = 0; w < windows.size(); ++w) {
      const bool all = std::ranges::all_of(windows[w], [&](auto f) { return frames.contains(f); });
      ASSERT_EQ(cutting.results[w].clip.has_value(), all);
      if (!all) continue;
      ++complete;
      const bool stayed = cutting.results[w].clip->on_device.has_value();
      ASSERT_EQ(stayed, std::ranges::all_of(windows[w], [&](auto f) {
                  return cutting.converter.of_device.contains(f);
                }));
      ASSERT_EQ(cutting.numbers(w), std::vector<int>(windows[w].begin(), windows[w].end()));
    }
    ASSERT_EQ(cutting.pool.in_use(), complete) << "those of the device came down to be looked at";
    cutting.device_clips->free_idle(1_MiB);
    ASSERT_EQ(cutting.device_clips->gauges().held_bytes, 0U);
  }
}

}  // namespace
}  // namespace shardreel
