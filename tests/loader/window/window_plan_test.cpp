#include "loader/window/window_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <random>
#include <set>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Frames = std::vector<std::int64_t>;

WindowOptions by_frame(std::uint32_t num_frames, std::uint32_t step, std::uint32_t stride) {
  WindowOptions options;
  options.num_frames = num_frames;
  options.frame_step = step;
  options.window_stride = stride;
  return options;
}

VideoTimes frames_only(std::int64_t count) { return {count, {}, 0, 25}; }

/// Times as integers (ticks of a time base), so that the model can compare without rounding.
struct TickVideo {
  std::vector<std::int64_t> pts;
  std::int64_t end = 0;
  std::int64_t ticks_per_second = 1;
};

/// The list of all positions of all windows, made by stepping through them; positions are frames,
/// or by time the frame shown at each instant, found by scanning.
std::vector<Window> model(std::int64_t frame_count, const TickVideo* times, std::int64_t fps_num,
                          std::int64_t fps_den, const WindowOptions& options) {
  Frames shown;
  if (times == nullptr) {
    for (std::int64_t i = 0; i < frame_count; ++i) shown.push_back(i);
  } else {
    // Instant j is at pts[0] + j * den / num seconds = pts[0] + j * den * ticks / num ticks.
    for (std::int64_t j = 0;; ++j) {
      const auto later = [&](std::int64_t tick) {
        return static_cast<__int128>(tick - times->pts[0]) * fps_num >
               static_cast<__int128>(j) * fps_den * times->ticks_per_second;
      };
      if (j > 0 && !later(times->end)) break;
      std::int64_t frame = 0;
      for (std::size_t i = 0; i < times->pts.size(); ++i) {
        if (!later(times->pts[i])) frame = static_cast<std::int64_t>(i);
      }
      shown.push_back(frame);
    }
  }
  std::vector<Window> windows;
  const std::size_t stride = options.window_stride != 0 ? options.window_stride
                             : options.fps              ? options.num_frames
                                                        : options.num_frames * options.frame_step;
  for (std::size_t start = 0; start < shown.size(); start += stride) {
    Window window;
    window.ordinal = windows.size();
    for (std::size_t i = 0; i < options.num_frames; ++i) {
      const std::size_t position = start + i * options.frame_step;
      if (position < shown.size()) window.frames.push_back(shown[position]);
    }
    if (window.frames.size() < options.num_frames) break;
    windows.push_back(window);
  }
  if (windows.empty() && !shown.empty() && options.short_policy != ShortPolicy::kDrop) {
    Window window;
    std::size_t position = 0;
    for (std::size_t i = 0; i < options.num_frames; ++i) {
      window.frames.push_back(shown[position]);
      for (std::uint32_t s = 0; s < options.frame_step; ++s) {
        if (position + 1 < shown.size()) {
          ++position;
        } else if (options.short_policy == ShortPolicy::kLoop) {
          position = 0;
        }
      }
    }
    windows.push_back(window);
  }
  return windows;
}

void expect_same(const std::vector<Window>& got, const std::vector<Window>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].ordinal, want[i].ordinal);
    ASSERT_EQ(got[i].frames, want[i].frames) << "window " << i;
  }
}

/// The plan, whose size is always what counting it gives; nothing for a video that fails, which it
/// then does both ways.
std::vector<Window> planned(const VideoTimes& video, const WindowOptions& options,
                            std::uint64_t seed, const ClipId& id) {
  auto windows = plan_windows(video, options, seed, id);
  const auto count = count_windows(video, options);
  EXPECT_EQ(count.has_value(), windows.has_value());
  if (!windows || !count) return {};
  EXPECT_EQ(*count, windows->size());
  return std::move(*windows);
}

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(engine_);
  }

 private:
  std::mt19937_64 engine_;
};

WindowOptions random_options(Random& random) {
  WindowOptions options = by_frame(static_cast<std::uint32_t>(random.between(1, 20)),
                                   static_cast<std::uint32_t>(random.between(1, 5)),
                                   static_cast<std::uint32_t>(random.between(0, 24)));
  options.short_policy = static_cast<ShortPolicy>(random.between(0, 2));
  return options;
}

TEST(WindowPlan, AgreesWithTheModelByFrame) {
  Random random(testing::test_seed());
  for (std::uint64_t round = testing::rounds(100'000); round > 0; --round) {
    const std::int64_t count = random.between(0, 120);
    const WindowOptions options = random_options(random);
    expect_same(planned(frames_only(count), options, 1, {}), model(count, nullptr, 0, 1, options));
    ASSERT_FALSE(HasFatalFailure());
  }
}

TEST(WindowPlan, AgreesWithTheModelByTimeAlsoWithVariableFrameRate) {
  Random random(testing::test_seed());
  constexpr std::pair<std::int64_t, std::int64_t> kRates[] = {
      {30, 1}, {25, 1}, {30000, 1001}, {24000, 1001}, {1, 1}, {1, 3}, {10, 1}, {60, 1}, {8, 1}};
  constexpr std::int64_t kBases[] = {30, 90000, 12800, 1000, 25, 600, 30000};
  for (std::uint64_t round = testing::rounds(40'000); round > 0; --round) {
    TickVideo video;
    video.ticks_per_second = kBases[random.between(0, 6)];
    const std::int64_t count = random.between(1, 60);
    std::int64_t tick = random.between(-3, 3) * random.between(0, 1'000'000);
    const std::int64_t step = std::max<std::int64_t>(1, video.ticks_per_second / 30);
    const bool variable = random.between(0, 1) == 1;
    for (std::int64_t i = 0; i < count; ++i) {
      video.pts.push_back(tick);
      tick += variable ? random.between(1, 4 * step) : step;
    }
    video.end = tick;
    std::vector<double> seconds;
    for (const std::int64_t t : video.pts) {
      seconds.push_back(static_cast<double>(t) / static_cast<double>(video.ticks_per_second));
    }
    const auto [num, den] = kRates[random.between(0, 8)];
    WindowOptions options = random_options(random);
    options.fps = static_cast<double>(num) / static_cast<double>(den);
    const VideoTimes times{
        count, seconds,
        static_cast<double>(video.end) / static_cast<double>(video.ticks_per_second), 25};
    expect_same(planned(times, options, 1, {}), model(count, &video, num, den, options));
    ASSERT_FALSE(HasFatalFailure())
        << "base " << video.ticks_per_second << " fps " << num << "/" << den;
  }
}

// A whole day at rates whose period no double holds: instant j must show frame j, every one.
TEST(WindowPlan, ExactMultiplesDoNotSlip) {
  for (const auto& [num, den] : {std::pair{30.0, 1.0}, {30000.0, 1001.0}, {24.0, 1.0}}) {
    std::vector<double> seconds;
    for (int i = 0; i < 2'000'000; ++i) seconds.push_back(1e4 + i * den / num);
    WindowOptions options = by_frame(1, 1, 0);
    options.fps = num / den;
    const auto windows = planned({2'000'000, seconds, 1e4 + 2e6 * den / num, 25}, options, 1, {});
    ASSERT_EQ(windows.size(), 2'000'000U);
    for (std::size_t i = 0; i < windows.size(); ++i) {
      ASSERT_EQ(windows[i].frames[0], static_cast<std::int64_t>(i)) << num << "/" << den;
    }
  }
}

TEST(WindowPlan, WithoutTimesFramesAreEquallyFarApart) {
  WindowOptions options = by_frame(5, 1, 0);
  options.fps = 12.5;
  auto windows = planned({20, {}, 0, 25}, options, 1, {});
  ASSERT_EQ(windows.size(), 2U);
  EXPECT_THAT(windows[1].frames, ElementsAre(10, 12, 14, 16, 18));
  options.fps = 50;
  windows = planned({5, {}, 0, 25}, options, 1, {});
  ASSERT_EQ(windows.size(), 2U);
  EXPECT_THAT(windows[0].frames, ElementsAre(0, 0, 1, 1, 2));
}

TEST(WindowPlan, ShortVideos) {
  WindowOptions options = by_frame(5, 2, 0);  // needs 9 frames
  EXPECT_TRUE(planned(frames_only(8), options, 1, {}).empty());
  EXPECT_EQ(planned(frames_only(9), options, 1, {}).size(), 1U);
  options.short_policy = ShortPolicy::kRepeatLast;
  EXPECT_THAT(planned(frames_only(6), options, 1, {})[0].frames, ElementsAre(0, 2, 4, 5, 5));
  options.short_policy = ShortPolicy::kLoop;
  EXPECT_THAT(planned(frames_only(6), options, 1, {})[0].frames, ElementsAre(0, 2, 4, 0, 2));
  EXPECT_THAT(planned(frames_only(1), options, 1, {})[0].frames, ElementsAre(0, 0, 0, 0, 0));
  EXPECT_TRUE(planned(frames_only(0), options, 1, {}).empty());
}

TEST(WindowPlan, UniformTakesTheMiddlesOfEqualParts) {
  WindowOptions options = by_frame(1, 1, 1);
  options.window_choice = WindowChoice::kUniform;
  options.windows_per_video = 4;
  const auto windows = planned(frames_only(100), options, 1, {});
  std::vector<std::uint64_t> ordinals;
  for (const Window& window : windows) ordinals.push_back(window.ordinal);
  EXPECT_THAT(ordinals, ElementsAre(12, 37, 62, 87));
}

TEST(WindowPlan, AChoiceIsAnAscendingSubsetOfAll) {
  Random random(testing::test_seed());
  for (std::uint64_t round = testing::rounds(20'000); round > 0; --round) {
    WindowOptions options = random_options(random);
    const std::int64_t count = random.between(1, 200);
    const auto all = planned(frames_only(count), options, 1, {});
    options.windows_per_video = static_cast<std::uint32_t>(random.between(1, 12));
    options.window_choice = static_cast<WindowChoice>(random.between(0, 1));
    const auto seed = static_cast<std::uint64_t>(random.between(0, 1000));
    const ClipId id{0, 1, static_cast<std::uint64_t>(random.between(0, 50)), 0};
    ClipId other_window = id;
    other_window.window = 9;  // the plan is made before windows have numbers
    const auto some = planned(frames_only(count), options, seed, id);
    expect_same(some, planned(frames_only(count), options, seed, other_window));
    ASSERT_EQ(some.size(), std::min<std::size_t>(all.size(), options.windows_per_video));
    for (std::size_t i = 0; i < some.size(); ++i) {
      if (i > 0) {
        ASSERT_LT(some[i - 1].ordinal, some[i].ordinal);
      }
      ASSERT_LT(some[i].ordinal, all.size());
      ASSERT_EQ(some[i].frames, all[some[i].ordinal].frames);
    }
  }
}

// Each of the 10 pairs of 5 windows must come equally often. 9 degrees of freedom: 40 is exceeded
// once in 10^5.
TEST(WindowPlan, RandomChoiceIsFairAndKeyed) {
  WindowOptions options = by_frame(1, 1, 1);
  options.windows_per_video = 2;
  const std::uint64_t seed = testing::test_seed();
  std::map<std::pair<std::uint64_t, std::uint64_t>, double> times_seen;
  for (std::uint64_t sample = 0; sample < 20'000; ++sample) {
    const auto windows = planned(frames_only(5), options, seed, {0, 0, sample, 0});
    times_seen[{windows[0].ordinal, windows[1].ordinal}] += 1;
  }
  ASSERT_EQ(times_seen.size(), 10U);
  double chi = 0;
  for (const auto& [pair, n] : times_seen) chi += (n - 2000) * (n - 2000) / 2000;
  EXPECT_LT(chi, 40);
  std::set<Frames> by_key;
  for (std::uint64_t i = 0; i < 50; ++i) {
    Frames chosen;
    for (const auto& window : planned(frames_only(1000), options, seed, {i, 0, 0, 0})) {
      chosen.push_back(window.frames[0]);
    }
    by_key.insert(chosen);
  }
  EXPECT_GT(by_key.size(), 45U);  // the epoch is part of the key
}

/// The error of a video that fails.
Error failure_of(const VideoTimes& video, const WindowOptions& options) {
  const auto windows = plan_windows(video, options, 1, {});
  const auto count = count_windows(video, options);
  EXPECT_FALSE(windows);
  EXPECT_FALSE(count);
  if (windows || count) return {};
  EXPECT_EQ(windows.error().message, count.error().message);
  EXPECT_EQ(windows.error().code, ErrorCode::kLongFrame);
  return windows.error();
}

TEST(WindowPlan, AFrameThatStaysForLongerThanTheBoundFailsTheSample) {
  WindowOptions options = by_frame(1, 1, 0);
  options.fps = 25;
  // Frame 49 of a hundred stays for 1000 s.
  std::vector<double> seconds;
  for (int i = 0; i < 100; ++i) seconds.push_back(7 + i / 25.0 + (i < 50 ? 0 : 1000));
  const VideoTimes gap{100, seconds, 7 + 1004.0, 25};
  EXPECT_THAT(failure_of(gap, options).message,
              AllOf(HasSubstr("frame 49 stays shown for 1000.040 s, from 1.960 s to 1002.000 s"),
                    HasSubstr("300 s at most")));
  for (const auto policy : {ShortPolicy::kDrop, ShortPolicy::kRepeatLast, ShortPolicy::kLoop}) {
    WindowOptions wide = options;  // as long as all instants, and longer
    wide.short_policy = policy;
    for (const std::uint32_t frames : {16U, 25'100U, 30'000U}) {
      wide.num_frames = frames;
      wide.windows_per_video = frames == 16 ? 1 : 0;  // also where the window chosen lies elsewhere
      failure_of(gap, wide);
    }
  }
  // By frame nobody asks for times.
  EXPECT_EQ(planned(gap, by_frame(10, 1, 0), 1, {}).size(), 10U);

  // The first frame, the last one, the only one; and without times, frames that are all as long.
  const std::vector<double> two{0, 301}, one{5};
  EXPECT_THAT(failure_of({2, two, 302, 25}, options).message, HasSubstr("frame 0 stays"));
  EXPECT_THAT(failure_of({1, one, 306, 25}, options).message, HasSubstr("frame 0 stays"));
  EXPECT_THAT(failure_of({2, std::vector<double>{0, 1}, 302, 25}, options).message,
              HasSubstr("frame 1 stays"));
  EXPECT_THAT(failure_of({3, {}, 0, 1.0 / 301}, options).message, HasSubstr("frame 0 stays"));
}

TEST(WindowPlan, SlowVideosAreSampledUpToTheBound) {
  WindowOptions options = by_frame(16, 1, 0);
  options.fps = 30;
  // A camera that takes a picture every ten seconds, for a day.
  std::vector<double> seconds;
  for (int i = 0; i < 8640; ++i) seconds.push_back(10.0 * i);
  EXPECT_EQ(planned({8640, seconds, 86'400, 25}, options, 1, {}).size(), 86'400U * 30 / 16);
  // Slides of five minutes each, to the bound.
  options.fps = 1;
  const std::vector<double> slides{0, 300, 600};
  const auto windows = planned({3, slides, 900, 25}, options, 1, {});
  ASSERT_EQ(windows.size(), 900U / 16);
  for (std::size_t k = 0; k < windows.size(); ++k) {
    for (std::size_t i = 0; i < 16; ++i)
      ASSERT_EQ(windows[k].frames[i], static_cast<std::int64_t>((k * 16 + i) / 300));
  }
}

TEST(WindowPlan, TheLongFrameIsTheFirstOne) {
  Random random(testing::test_seed());
  for (std::uint64_t round = testing::rounds(20'000); round > 0; --round) {
    std::vector<double> seconds;
    double end = static_cast<double>(random.between(-500, 500));
    std::optional<std::int64_t> first;
    const std::int64_t count = random.between(1, 30);
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t shown = random.between(0, 9) == 0 ? random.between(290, 310) : 2;
      if (shown > 300 && !first) first = i;
      seconds.push_back(end);
      end += static_cast<double>(shown);
    }
    const auto found = find_long_frame({count, seconds, end, 25});
    ASSERT_EQ(found.has_value(), first.has_value());
    if (!found) continue;
    ASSERT_EQ(found->frame, *first);
    ASSERT_EQ(found->begin, seconds[static_cast<std::size_t>(*first)] - seconds[0]);
  }
}

TEST(WindowPlan, ARateThatRepeatsFramesAThousandTimesFails) {
  WindowOptions options = by_frame(16, 1, 0);
  options.fps = 3e5;
  EXPECT_THAT(failure_of({100, {}, 0, 25}, options).message,
              AllOf(HasSubstr("make 1200000 output frames"), HasSubstr("1100000 at most")));
  options.fps = 25'000;
  EXPECT_EQ(planned({100, {}, 0, 25}, options, 1, {}).size(), 100'000U / 16);
}

TEST(WindowPlan, HostileValuesNeitherOverflowNorFillMemory) {
  const auto most32 = std::numeric_limits<std::uint32_t>::max();
  const auto most64 = std::numeric_limits<std::int64_t>::max();
  WindowOptions few = by_frame(2, 1, 1);
  few.windows_per_video = 3;
  for (const auto choice : {WindowChoice::kRandom, WindowChoice::kUniform}) {
    few.window_choice = choice;
    const auto windows = planned(frames_only(most64), few, 1, {});
    ASSERT_EQ(windows.size(), 3U);
    for (const auto& window : windows) EXPECT_EQ(window.frames[1], window.frames[0] + 1);
  }
  EXPECT_TRUE(planned(frames_only(most64), by_frame(0, 1, 1), 1, {}).empty());
  EXPECT_TRUE(planned(frames_only(-5), few, 1, {}).empty());
  WindowOptions wide = by_frame(3, most32, most32);
  wide.windows_per_video = 1;
  const auto far = planned(frames_only(most64), wide, 1, {});
  ASSERT_EQ(far.size(), 1U);
  EXPECT_EQ(far[0].frames[2] - far[0].frames[0], 2 * std::int64_t{most32});
  EXPECT_EQ(planned(frames_only(5), by_frame(2, 0, 0), 1, {}).size(), 3U);

  WindowOptions timed = by_frame(4, 1, 0);
  timed.fps = 30;
  const double infinity = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {infinity, -infinity, nan, 1e300, -1e300}) {
    const std::vector<double> seconds = {0, bad, 1};
    for (const double end : {1.0, bad}) {
      for (const auto& window : planned({3, seconds, end, 25}, timed, 1, {})) {
        for (const std::int64_t frame : window.frames) {
          ASSERT_GE(frame, 0);
          ASSERT_LT(frame, 3);
        }
      }
    }
    const std::vector<double> first_bad = {bad, 1, 2};
    for (const auto& window : planned({3, first_bad, 2, bad}, timed, 1, {})) {
      for (const std::int64_t frame : window.frames)
        ASSERT_LT(static_cast<std::uint64_t>(frame), 3U);
    }
    timed.fps = bad;
    planned({3, seconds, 1, 25}, timed, 1, {});
    timed.fps = 30;
  }
  WindowOptions one = timed;
  one.windows_per_video = 1;
  EXPECT_EQ(planned({most64 >> 20, {}, 1, 25}, one, 1, {}).size(), 1U);
  EXPECT_TRUE(planned({most64, {}, 1, 25}, one, 1, {}).empty());
  // A duration of thirty million years on 100 frames is not believed.
  std::vector<double> hundred;
  for (int i = 0; i < 100; ++i) hundred.push_back(i / 30.0);
  EXPECT_TRUE(planned({100, hundred, 1e15, 25}, timed, 1, {}).empty());
  // More frames claimed than there are times.
  const std::vector<double> two = {0, 0.5};
  for (const auto& window : planned({most64, two, 1, 25}, timed, 1, {})) {
    for (const std::int64_t frame : window.frames) ASSERT_LT(frame, 2);
  }
}

}  // namespace
}  // namespace shardreel
