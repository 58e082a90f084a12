// The memory policy on scripted readings: no device, no thread, no clock.
#include "loader/device/governor/governor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

#include "loader/device/governor/refusal_memory.h"
#include "loader/device/governor/session_costs.h"
#include "loader/device/governor/session_limit.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
constexpr std::uint64_t kMiB = 1 << 20;

GovernorOptions small_options() {
  GovernorOptions options;
  options.reserve_bytes = 1000 * kMiB;
  options.budget_bytes = 4000 * kMiB;
  options.window = seconds(3);
  return options;
}

TEST(FreeWindow, GivesTheLeastOfTheWindow) {
  const std::uint64_t seed = testing::test_seed();
  std::mt19937_64 random(seed);
  FreeWindow window(seconds(2));
  EXPECT_EQ(window.least(seconds(0)), std::nullopt);
  std::vector<std::pair<GovernorTime, std::uint64_t>> all;
  GovernorTime now{};
  for (int i = 0; i < 2000; ++i) {
    now += milliseconds(random() % 700);
    if (random() % 3 != 0 || all.empty()) {
      all.emplace_back(now, random() % 50);
      window.add(now, all.back().second);
    }
    std::uint64_t least = all.back().second;
    for (const auto& [at, free] : all) {
      if (at >= now - seconds(2)) least = std::min(least, free);
    }
    ASSERT_EQ(window.least(now), least) << "seed " << seed << ", step " << i;
  }
}

TEST(SessionLimit, RisesByOneAndFallsByHalf) {
  SessionLimit limit({1, 6, 2, seconds(2)});
  EXPECT_EQ(limit.allowed(), 2U);
  for (int s = 0; s <= 4; ++s) limit.succeeded(seconds(s), true);
  EXPECT_EQ(limit.allowed(), 4U);
  for (int s = 5; s <= 9; ++s) limit.succeeded(seconds(s), false);
  EXPECT_EQ(limit.allowed(), 4U) << "nobody waits for more";
  for (int s = 10; s <= 30; ++s) limit.succeeded(seconds(s), true);
  EXPECT_EQ(limit.allowed(), 6U);
  limit.refused(seconds(31));
  limit.refused(seconds(31) + milliseconds(20));
  EXPECT_EQ(limit.allowed(), 3U) << "one burst counts once";
  limit.succeeded(seconds(32), true);
  EXPECT_EQ(limit.allowed(), 3U);
  for (int s = 40; s < 50; ++s) limit.refused(seconds(s));
  EXPECT_EQ(limit.allowed(), 1U);
}

TEST(SessionCosts, LearnFromMeasurements) {
  SessionCosts costs;
  EXPECT_EQ(costs.estimate("h264 1080p", 100), 100U);
  costs.measured("h264 1080p", 100, 180);
  EXPECT_EQ(costs.estimate("h264 1080p", 100), 180U);
  EXPECT_EQ(costs.estimate("hevc 1080p", 100), 100U);
  costs.measured("h264 1080p", 100, 140);
  EXPECT_EQ(costs.estimate("h264 1080p", 100), 170U);
  for (int i = 0; i < 100; ++i) costs.measured("h264 1080p", 100, 0);
  EXPECT_EQ(costs.estimate("h264 1080p", 100), 50U);
}

TEST(RefusalMemory, OneTryAKindHoweverManyThreads) {
  constexpr int kThreads = 8, kAsks = 200;
  for (const bool takes : {true, false}) {
    RefusalMemory memory;
    std::atomic<int> tries{0}, wrong{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < kAsks; ++i) {
          const std::string kind = "kind " + std::to_string(i % 5);
          switch (memory.ask(kind)) {
            case KindVerdict::kTry:
              ++tries;
              // The first try of a kind tells nothing, as if memory had been short.
              if (tries == 1) {
                memory.forget(kind);
              } else {
                memory.report(kind, takes ? KindVerdict::kTakes : KindVerdict::kRefuses);
              }
              break;
            case KindVerdict::kBeingTried:
              std::this_thread::yield();
              --i;  // until there is a verdict
              break;
            case KindVerdict::kTakes: wrong += takes ? 0 : 1; break;
            case KindVerdict::kRefuses: wrong += takes ? 1 : 0; break;
            case KindVerdict::kDiffers: ++wrong; break;
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(tries, 6) << "five kinds, and the one that told nothing again";
    EXPECT_EQ(memory.refused_kinds(), takes ? 0U : 5U);
  }
  RefusalMemory memory;
  EXPECT_EQ(memory.ask("slow"), KindVerdict::kTry);
  EXPECT_EQ(memory.ask("slow"), KindVerdict::kBeingTried) << "nobody waits";
  memory.report("slow", KindVerdict::kTakes);
  EXPECT_EQ(memory.ask("slow"), KindVerdict::kTakes);
  memory.report("slow", KindVerdict::kRefuses);
  EXPECT_EQ(memory.ask("slow"), KindVerdict::kRefuses) << "refused all the same";
}

TEST(Governor, GrantsNothingBeforeAReadingAndNeverBeyondBudget) {
  Governor governor(small_options());
  EXPECT_FALSE(governor.try_reserve(seconds(0), 1));
  Governor open(small_options());
  open.reading(seconds(0), 80000 * kMiB);
  auto most = open.try_reserve(seconds(0), 4000 * kMiB);
  ASSERT_TRUE(most);
  EXPECT_FALSE(open.try_reserve(seconds(0), 1));
  most.reset();
  EXPECT_TRUE(open.try_reserve(seconds(0), 1));
  EXPECT_EQ(open.gauges(seconds(0)).granted, 0U);
}

TEST(Governor, OutOfMemoryCoolsDownLongerEachTime) {
  Governor governor(small_options());
  GovernorTime now{};
  std::vector<std::int64_t> waits;
  for (int i = 0; i < 8; ++i) {
    governor.out_of_memory(now);
    governor.out_of_memory(now);  // another thread of the same burst
    const GovernorTime failed = now;
    std::optional<GpuLease> lease;
    while (!lease) {
      now += milliseconds(100);
      governor.reading(now, 80000 * kMiB);
      lease = governor.try_reserve(now, kMiB);
    }
    waits.push_back((now - failed) / milliseconds(100));
  }
  // The dwell is the least; then 4, 8, 16, 32 seconds, and no more than a minute.
  EXPECT_LE(waits[0], 22);
  EXPECT_GE(waits[3], 80);
  EXPECT_GE(waits[7], 600);
  EXPECT_LE(waits[7], 622);
  governor.try_reserve(now, kMiB)->allocated(kMiB);
  governor.out_of_memory(now);
  const GovernorTime failed = now;
  while (!governor.try_reserve(now, kMiB)) {
    now += milliseconds(100);
    governor.reading(now, 80000 * kMiB);
  }
  EXPECT_LE((now - failed) / milliseconds(100), 22) << "a success begins anew";
}

TEST(Governor, ShedsBelowHalfOfTheReserve) {
  Governor governor(small_options());
  governor.reading(seconds(0), 5000 * kMiB);
  auto lease = governor.try_reserve(seconds(0), 2000 * kMiB);
  ASSERT_TRUE(lease);
  lease->allocated(2000 * kMiB);
  governor.reading(seconds(4), 600 * kMiB);
  EXPECT_EQ(governor.bytes_to_shed(seconds(4)), 0U);
  governor.reading(seconds(5), 400 * kMiB);
  EXPECT_EQ(governor.bytes_to_shed(seconds(5)), 600 * kMiB);
  EXPECT_FALSE(governor.try_reserve(seconds(5), 1));
}

TEST(Governor, WhatLiesIdleMakesRoom) {
  Governor governor(small_options());
  governor.reading(seconds(0), 80000 * kMiB);
  std::vector<GpuLease> idle;
  std::vector<std::uint64_t> asked;
  const auto holder = governor.idle().add([&](std::uint64_t bytes) {
    asked.push_back(bytes);
    std::uint64_t came = 0;
    for (; came < bytes && !idle.empty(); idle.pop_back()) came += idle.back().bytes();
    return came;
  });
  for (int i = 0; i < 4; ++i)
    idle.push_back(std::move(*governor.try_reserve(seconds(0), 1000 * kMiB)));
  EXPECT_TRUE(asked.empty()) << "there was room";
  auto lease = governor.try_reserve(seconds(0), 1500 * kMiB);
  ASSERT_TRUE(lease);
  EXPECT_EQ(asked, std::vector<std::uint64_t>{1500 * kMiB});
  EXPECT_EQ(idle.size(), 2U) << "no more than it takes";
  EXPECT_FALSE(governor.try_reserve(seconds(0), 3000 * kMiB));
  EXPECT_EQ(asked.size(), 2U) << "once";
  EXPECT_TRUE(idle.empty());
  EXPECT_FALSE(governor.try_reserve(seconds(0), 5000 * kMiB)) << "more than the budget";
  EXPECT_EQ(asked.size(), 2U) << "in vain";
  governor.out_of_memory(seconds(0));
  EXPECT_FALSE(governor.try_reserve(seconds(0), 1 * kMiB));
  EXPECT_EQ(asked.size(), 2U) << "nor does it end a cool-down";
  EXPECT_EQ(governor.gauges(seconds(0)).granted, 1500 * kMiB);
}

TEST(Governor, StepsBackForTheDwell) {
  Governor governor(small_options());
  governor.reading(seconds(0), 80000 * kMiB);
  std::optional<GpuLease> idle = governor.try_reserve(seconds(0), 1000 * kMiB);
  const auto holder = governor.idle().add([&](std::uint64_t bytes) -> std::uint64_t {
    EXPECT_EQ(bytes, IdleMemory::kAll);
    return std::exchange(idle, std::nullopt) ? 1000 * kMiB : 0;
  });
  EXPECT_EQ(governor.step_back(seconds(10)), 1000 * kMiB);
  EXPECT_EQ(governor.step_back(seconds(10)), 0U);
  EXPECT_EQ(governor.gauges(seconds(10)).granted, 0U);
  GovernorTime now = seconds(10);
  while (!governor.try_reserve(now, kMiB)) {
    now += milliseconds(100);
    governor.reading(now, 80000 * kMiB);
    ASSERT_LT(now, seconds(60));
  }
  EXPECT_GE(now, seconds(12));
  EXPECT_LE(now, seconds(12) + milliseconds(200));
}

/// A device that others use, too, and what is asked of it; the judge of the property test.
class ScriptedDevice {
 public:
  explicit ScriptedDevice(std::uint64_t seed)
      : random_(seed),
        options_(small_options()),
        governor_(options_),
        holder_(governor_.idle().add([this](std::uint64_t bytes) { return give_back(bytes); })) {}

  void run(int steps) {
    for (int i = 0; i < steps; ++i) step(i);
  }

 private:
  struct Session {
    GpuLease lease;
    std::uint64_t real = 0;  // what it takes of the device
    int phase = 0;           // granted, there, being freed
    bool idle = false;       // when there
  };

  std::uint64_t below(std::uint64_t n) { return random_() % n; }
  std::uint64_t give_back(std::uint64_t bytes) {
    std::uint64_t came = 0;
    for (auto session = sessions_.begin(); session != sessions_.end() && came < bytes;) {
      if (session->phase != 1 || !session->idle) {
        ++session;
        continue;
      }
      came += session->lease.bytes();
      session->lease.freeing();
      session = sessions_.erase(session);
    }
    given_back += came > 0 ? 1 : 0;
    return came;
  }
  std::uint64_t ours() const {
    std::uint64_t sum = 0;
    for (const Session& session : sessions_) sum += session.phase == 1 ? session.real : 0;
    return sum;
  }

  void step(int i) {
    SCOPED_TRACE(i);
    now_ += milliseconds(100);
    if (below(40) == 0) others_ = below(11) * 1000 * kMiB;    // a trainer comes and goes
    const std::uint64_t wave = i % 10 == 0 ? 500 * kMiB : 0;  // the peak of its step
    // Nobody gets what we hold.
    const std::uint64_t used = std::min(kTotal - ours(), others_ + wave);
    const std::uint64_t free = kTotal - used - ours();
    left_.emplace_back(now_, kTotal - used);
    governor_.reading(now_, free);
    judge_mode();
    for (auto session = sessions_.begin(); session != sessions_.end();) {
      if (session->phase == 0 && below(2) == 0) {
        session->real = session->lease.bytes() - below(2) * kMiB;
        session->phase = 1;
        session->lease.allocated(session->real);
      } else if (session->phase == 1 && below(30) == 0) {
        session->lease.freeing();
        session->phase = 2;
      } else if (session->phase == 2) {
        session = sessions_.erase(session);
        continue;
      }
      if (session->phase == 1 && below(4) == 0) session->idle = !session->idle;
      ++session;
    }
    if (below(2) == 0) governor_.shed(now_);
    if (below(300) == 0) {
      governor_.step_back(now_);
      stepped_back_ = now_;
      judge_mode();
      for (const Session& session : sessions_) ASSERT_FALSE(session.phase == 1 && session.idle);
    }
    const std::uint64_t wanted = (1 + below(600)) * kMiB;
    if (auto lease = governor_.try_reserve(now_, wanted)) {
      sessions_.push_back({std::move(*lease), 0, 0});
      if (stepped_back_) {
        ASSERT_GE(now_ - *stepped_back_, options_.dwell);
      }
      judge_grant();
    }
    std::uint64_t granted = 0;
    for (const Session& session : sessions_) granted += session.lease.bytes();
    ASSERT_EQ(governor_.gauges(now_).granted, granted) << "conservation";
    ASSERT_LE(granted, options_.budget_bytes);
  }

  /// With everything granted in use, the reserve is free at the worst moment of the window.
  void judge_grant() {
    std::uint64_t least = kTotal, granted = 0;
    for (const auto& [at, bytes] : left_) {
      if (at >= now_ - options_.window) least = std::min(least, bytes);
    }
    for (const Session& session : sessions_) granted += session.lease.bytes();
    ASSERT_GE(least, granted + options_.reserve_bytes) << "granted below the reserve";
    ++grants;
  }

  void judge_mode() {
    const auto gauges = governor_.gauges(now_);
    if (gauges.mode_switches == switches_) return;
    ASSERT_EQ(gauges.mode_switches, switches_ + 1);
    if (switches_ > 0) {
      ASSERT_GE(now_ - switched_, options_.dwell) << "two modes within the dwell";
    }
    switches_ = gauges.mode_switches;
    switched_ = now_;
  }

 public:
  static constexpr std::uint64_t kTotal = 10000 * kMiB;
  int grants = 0, given_back = 0;

  /// After the others are gone: how long until something is granted.
  GovernorTime recovery() {
    sessions_.clear();
    others_ = 0;
    const GovernorTime gone = now_;
    for (;;) {
      now_ += milliseconds(100);
      governor_.reading(now_, kTotal);
      if (governor_.try_reserve(now_, 100 * kMiB)) return now_ - gone;
      if (now_ - gone > seconds(100)) return now_ - gone;
    }
  }
  Governor& governor() { return governor_; }
  GovernorTime now() const { return now_; }

 private:
  std::mt19937_64 random_;
  const GovernorOptions options_;
  Governor governor_;
  std::vector<Session> sessions_;  // before the governor goes, they went
  std::optional<GovernorTime> stepped_back_;
  std::vector<std::pair<GovernorTime, std::uint64_t>> left_;
  GovernorTime now_{}, switched_{};
  std::uint64_t others_ = 0, switches_ = 0;
  const IdleMemory::Holder holder_;
};

TEST(Governor, NeverGrantsBelowTheReserveAndComesBack) {
  const std::uint64_t seed = testing::test_seed();
  int grants = 0, seen_switches = 0, given_back = 0;
  for (std::uint64_t round = 0; round < testing::rounds(200); ++round) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed << ", round " << round);
    ScriptedDevice device(seed + round);
    device.run(1500);
    if (::testing::Test::HasFatalFailure()) return;
    grants += device.grants;
    given_back += device.given_back;
    seen_switches += static_cast<int>(device.governor().gauges(device.now()).mode_switches);
    // The window forgets, then the dwell passes, twice at worst.
    EXPECT_LE(device.recovery(), seconds(3) + 2 * seconds(2) + milliseconds(300));
    EXPECT_EQ(device.governor().gauges(device.now()).granted, 0U);
  }
  EXPECT_GT(grants, 100) << "the script must let something through";
  EXPECT_GT(given_back, 100) << "and take something back";
  EXPECT_GT(seen_switches, 10) << "and refuse something";
}

}  // namespace
}  // namespace shardreel
