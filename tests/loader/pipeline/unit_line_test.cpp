// A lane's line: memory in sequence, one head that may wait while it holds, results in order.

#include "loader/pipeline/unit_line.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <future>
#include <mutex>
#include <random>
#include <thread>

#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using std::chrono::seconds;

constexpr std::size_t kAhead = 6;

class UnitLineTest : public ::testing::Test {
 protected:
  /// A unit of `clips` clips of one frame each, none of which overlap: 10 bytes for the decoder and
  /// 10 a clip.
  std::shared_ptr<UnitJob> make_job(std::size_t clips) {
    auto job = std::make_shared<UnitJob>();
    for (std::size_t i = 0; i < clips; ++i)
      job->unit.windows.push_back({i, {static_cast<std::int64_t>(i)}});
    job->decoder_bytes = 10;
    job->clip_bytes = 10;
    job->sample = std::make_shared<SampleRecord>();
    auto fields = std::make_shared<SampleFields>();
    fields->shard = "a.tar";
    fields->key = "k" + std::to_string(++jobs_);
    job->sample->context.sample = fields;
    return job;
  }

  std::shared_ptr<UnitJob> push(std::size_t clips) {
    auto job = make_job(clips);
    EXPECT_TRUE(line_.push(job, stop_.get_token()));
    return job;
  }

  /// Decode as a thread would; the clips' memory goes with them and is freed at once.
  void decode(UnitJob& job) {
    for (std::size_t i = 0; i < job.unit.windows.size(); ++i) {
      ASSERT_TRUE(line_.begin_clip(job));
      line_.emit(job, i, {});
    }
    line_.finish(job);
  }

  LineItem next() { return *line_.next(stop_.get_token()); }

  /// Take items until the unit at the front has ended; returns the clips seen.
  std::size_t drain_unit() {
    std::size_t clips = 0;
    while (std::holds_alternative<ClipItem>(next())) ++clips;
    return clips;
  }

  MemoryLedger ledger_;
  MemoryShare decode_{ledger_, "decode", 60};
  UnitLine line_{decode_, UnitLine::Waits::kHead, kAhead, [] {}};
  std::stop_source stop_;
  int jobs_ = 0;
};

/// Threads may wait for any unit's memory.
class WaitingUnitLineTest : public UnitLineTest {
 protected:
  std::shared_ptr<UnitJob> push(std::size_t clips) {
    auto job = make_job(clips);
    EXPECT_TRUE(waiting_.push(job, stop_.get_token()));
    return job;
  }
  MemoryShare share_{ledger_, "decode", 60};
  UnitLine waiting_{share_, UnitLine::Waits::kAny, kAhead, [] {}};
};

TEST_F(WaitingUnitLineTest, UnitsAreGrantedClipByClip) {
  const auto first = push(2), second = push(3), third = push(1);  // whole: 30, 40, 20
  ASSERT_EQ(waiting_.try_take(), first);
  ASSERT_EQ(waiting_.try_take(), second);
  EXPECT_EQ(share_.in_use(), 40U);  // a decoder and a clip each
  EXPECT_EQ(waiting_.try_take(), nullptr);
  std::vector<Reservation> clips;
  clips.push_back(std::move(*waiting_.begin_clip(*second)));
  clips.push_back(std::move(*waiting_.begin_clip(*second)));
  EXPECT_EQ(share_.in_use(), 50U);
  // The last 10 bytes are the first unit's, however long the second waits for them.
  auto waits = std::async(std::launch::async, [&] { return waiting_.begin_clip(*second); });
  EXPECT_NE(waits.wait_for(std::chrono::milliseconds(50)), std::future_status::ready);
  clips.push_back(std::move(*waiting_.begin_clip(*first)));
  EXPECT_EQ(share_.in_use(), 50U);
  clips.push_back(std::move(*waiting_.begin_clip(*first)));
  EXPECT_EQ(share_.in_use(), 60U);
  EXPECT_NE(waits.wait_for(std::chrono::milliseconds(50)), std::future_status::ready);
  clips.pop_back();  // it left to the right
  ASSERT_EQ(waits.wait_for(seconds(20)), std::future_status::ready);
  EXPECT_TRUE(waits.get());
}

// Units of all sizes, as long as each fits alone; clips leave in sequence and late. Whatever is
// granted to whom, the first of them goes on.
class UnitLineProperty : public ::testing::TestWithParam<UnitLine::Waits> {};

TEST_P(UnitLineProperty, WhoeverWaitsGoesOnInTheEnd) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(200); ++round) {
    MemoryLedger ledger;
    const std::uint64_t capacity = 60 + random() % 200;
    MemoryShare share(ledger, "decode", capacity);
    Signal work;
    UnitLine line(share, GetParam(), kAhead, [&work] { work.raise(); });
    std::stop_source stop;
    std::vector<std::shared_ptr<UnitJob>> jobs;
    std::size_t clips = 0;
    for (int i = 0; i < 40; ++i) {
      auto job = std::make_shared<UnitJob>();
      const auto open = static_cast<std::int64_t>(1 + random() % 3);  // clips that overlap
      const std::size_t count = 1 + random() % 12;
      for (std::size_t clip = 0; clip < count; ++clip) {
        const auto at = static_cast<std::int64_t>(clip);
        job->unit.windows.push_back({clip, {at, at + open - 1}});
      }
      job->decoder_bytes = 5 + random() % 20;
      job->clip_bytes = 1 + random() % 11;
      job->goes_on = random() % 8 == 0;
      clips += count;
      job->sample = std::make_shared<SampleRecord>();
      jobs.push_back(job);
    }
    jobs.back()->goes_on = false;
    std::jthread feeder([&] {
      for (const auto& job : jobs) ASSERT_TRUE(line.push(job, stop.get_token()));
      ASSERT_TRUE(line.push(EndOfPass{}, stop.get_token()));
    });
    std::vector<std::jthread> decoders;
    for (std::uint64_t thread = 0; thread < 1 + round % 4; ++thread) {
      decoders.emplace_back([&](const std::stop_token& over) {
        while (!over.stop_requested()) {
          const std::uint64_t seen = work.version();
          const auto job = line.try_take();
          if (!job) {
            work.wait(seen, over);
            continue;
          }
          // As many as overlap are open at a time.
          std::deque<Reservation> open;
          const std::size_t count = job->unit.windows.size();
          const auto most = static_cast<std::size_t>(job->unit.windows[0].frames[1] + 1);
          const auto leave = [&](std::size_t clip) {
            ClipResult result;
            result.clip.emplace();
            result.clip->reservation = std::move(open.front());
            open.pop_front();
            line.emit(*job, clip, std::move(result));
          };
          for (std::size_t clip = 0; clip < count; ++clip) {
            if (open.size() == most) leave(clip - most);
            auto memory = line.begin_clip(*job);
            if (!memory) return;
            EXPECT_LE(share.in_use(), capacity);
            open.push_back(std::move(*memory));
          }
          while (!open.empty()) leave(count - open.size());
          line.finish(*job);
        }
      });
    }
    // What comes out is let go later, by somebody else.
    std::mutex mutex;
    std::deque<LineItem> held;
    std::jthread consumer([&](const std::stop_token& ends) {
      while (!ends.stop_requested()) {
        std::optional<LineItem> first;
        {
          const std::lock_guard lock(mutex);
          if (!held.empty()) first = std::move(held.front());
          if (first) held.pop_front();
        }
        std::this_thread::yield();
      }
    });
    auto taken = std::async(std::launch::async, [&] {
      std::size_t got = 0;
      while (auto item = line.next(stop.get_token())) {
        if (std::holds_alternative<EndOfPass>(*item)) break;
        if (std::holds_alternative<ClipItem>(*item)) ++got;
        const std::lock_guard lock(mutex);
        held.push_back(std::move(*item));
      }
      return got;
    });
    const bool over = taken.wait_for(seconds(60)) == std::future_status::ready;
    EXPECT_TRUE(over) << "round " << round << ", capacity " << capacity;
    if (!over) {
      stop.request_stop();
      line.clear(false);
    }
    EXPECT_EQ(taken.get(), clips);
    for (auto& decoder : decoders) decoder.request_stop();
    decoders.clear();
    feeder.join();
    consumer.request_stop();
    consumer.join();
    held.clear();
    EXPECT_EQ(share.in_use(), 0U);
    if (!over) return;
  }
}

INSTANTIATE_TEST_SUITE_P(All, UnitLineProperty,
                         ::testing::Values(UnitLine::Waits::kHead, UnitLine::Waits::kAny));

TEST_F(UnitLineTest, MemoryIsGrantedInSequenceAndAllAtOnce) {
  const auto first = push(3), second = push(1), third = push(1);  // 40, 20, 20 bytes
  EXPECT_EQ(line_.try_take(), first);
  EXPECT_EQ(line_.try_take(), second);
  EXPECT_EQ(decode_.in_use(), 60U);
  EXPECT_EQ(line_.try_take(), nullptr);
  decode(*second);
  EXPECT_EQ(line_.try_take(), third);
  // Its results wait for those before it.
  decode(*third);
  decode(*first);
  EXPECT_EQ(drain_unit(), 3U);
  EXPECT_EQ(decode_.in_use(), 0U);
}

// Else a later unit could take what the head waits for, and its clips cannot leave before the
// head's.
TEST_F(UnitLineTest, WhatTheHeadsNextClipTakesIsLeftToIt) {
  const auto head = push(10);  // 110 bytes: more than the share
  push(1), push(2);            // 20 and 30
  ASSERT_EQ(line_.try_take(), head);
  EXPECT_TRUE(head->partly);
  EXPECT_EQ(decode_.in_use(), 20U);  // the decoder and the one clip that is open at a time
  ASSERT_NE(line_.try_take(), nullptr);
  EXPECT_EQ(line_.try_take(), nullptr);
  // However long the others hold theirs, the head goes on.
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(line_.try_take(), nullptr) << i;  // from the first clip on its 30 bytes are free
    ASSERT_TRUE(line_.begin_clip(*head));
  }
  EXPECT_NE(line_.try_take(), nullptr);
}

TEST_F(UnitLineTest, ALongUnitIsGrantedInPartOnlyAsTheHead) {
  const auto small = push(1), large = push(10);
  EXPECT_EQ(line_.try_take(), small);
  EXPECT_EQ(line_.try_take(), nullptr);
  decode(*small);
  EXPECT_EQ(line_.try_take(), nullptr);  // decoded, but not taken by the lane yet
  EXPECT_EQ(drain_unit(), 1U);
  EXPECT_EQ(line_.try_take(), large);
}

TEST_F(UnitLineTest, AHeadThatWaitsForItsNextClipIsWokenByFreedMemory) {
  const auto head = push(10);
  ASSERT_EQ(line_.try_take(), head);
  std::vector<Reservation> held;
  for (int i = 0; i < 5; ++i) held.push_back(std::move(*line_.begin_clip(*head)));
  ASSERT_EQ(decode_.in_use(), 60U);
  auto waiting =
      std::async(std::launch::async, [&] { return line_.begin_clip(*head).has_value(); });
  held.pop_back();
  ASSERT_EQ(waiting.wait_for(seconds(20)), std::future_status::ready);
  EXPECT_TRUE(waiting.get());
}

TEST_F(UnitLineTest, AUnitThatCanNeverFitIsLostInItsPlaceWithTheFigure) {
  auto impossible = make_job(2);
  impossible->decoder_bytes = 1000;
  ASSERT_TRUE(line_.push(impossible, stop_.get_token()));
  const auto good = push(1);
  EXPECT_EQ(line_.try_take(), good);
  for (int i = 0; i < 2; ++i) {
    const auto item = next();
    ASSERT_TRUE(std::holds_alternative<ClipItem>(item));
    const Error& lost = *std::get<ClipItem>(item).result.lost;
    EXPECT_EQ(lost.code, ErrorCode::kMemory);
    EXPECT_NE(lost.message.find("1010 bytes"), std::string::npos) << lost.message;
    EXPECT_EQ(lost.key, "k1");
  }
  EXPECT_TRUE(std::holds_alternative<UnitEnd>(next()));
}

TEST_F(UnitLineTest, ClearVoidsEverythingAndWakesWhoeverWaits) {
  const auto head = push(10);
  push(1);
  ASSERT_EQ(line_.try_take(), head);
  std::vector<Reservation> held;
  for (int i = 0; i < 5; ++i) held.push_back(std::move(*line_.begin_clip(*head)));
  auto waiting = std::async(std::launch::async, [&] { return line_.begin_clip(*head); });
  EXPECT_EQ(line_.clear(true), 11U);
  ASSERT_EQ(waiting.wait_for(seconds(20)), std::future_status::ready);
  const auto stopped = waiting.get();
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kStopped);
  EXPECT_TRUE(std::holds_alternative<Cleared>(next()));
  line_.finish(*head);
  held.clear();
  EXPECT_EQ(decode_.in_use(), 0U);
  const auto fresh = push(1);
  EXPECT_EQ(line_.try_take(), fresh);
}

TEST_F(UnitLineTest, PartsOfAUnitAreDecodedSideBySideAndEndTogether) {
  const auto first = make_job(2), second = make_job(1);
  first->goes_on = true;
  ASSERT_TRUE(line_.push(first, stop_.get_token()));
  ASSERT_TRUE(line_.push(second, stop_.get_token()));
  ASSERT_EQ(line_.try_take(), first);
  ASSERT_EQ(line_.try_take(), second);
  decode(*second);
  decode(*first);
  for (int i = 0; i < 3; ++i) {
    const auto item = next();
    ASSERT_TRUE(std::holds_alternative<ClipItem>(item)) << i;
    EXPECT_EQ(std::get<ClipItem>(item).sample, i < 2 ? first->sample : second->sample);
  }
  const auto end = next();
  ASSERT_TRUE(std::holds_alternative<UnitEnd>(end));
  EXPECT_EQ(std::get<UnitEnd>(end).sample, second->sample);
}

// Behind a part that was taken whole, a head that waits for memory is granted it.
TEST_F(UnitLineTest, TheEndOfAPartMakesTheNextOneTheHead) {
  const auto first = make_job(1), large = make_job(10);
  first->goes_on = true;
  ASSERT_TRUE(line_.push(first, stop_.get_token()));
  ASSERT_TRUE(line_.push(large, stop_.get_token()));
  ASSERT_EQ(line_.try_take(), first);
  decode(*first);
  ASSERT_TRUE(std::holds_alternative<ClipItem>(next()));
  ASSERT_EQ(line_.try_take(), nullptr);
  auto item = std::async(std::launch::async, [&] { return line_.next(stop_.get_token()); });
  std::shared_ptr<UnitJob> taken;
  const auto deadline = std::chrono::steady_clock::now() + seconds(20);
  while (!taken && std::chrono::steady_clock::now() < deadline) taken = line_.try_take();
  EXPECT_EQ(taken, large);
  stop_.request_stop();
  line_.clear(false);
  ASSERT_EQ(item.wait_for(seconds(20)), std::future_status::ready);
}

TEST_F(UnitLineTest, TheFeederGetsAheadWithWhatIsDecoded) {
  const std::size_t entries = 8;
  std::atomic<std::size_t> pushed{0};
  auto feeder = std::async(std::launch::async, [&] {
    for (; pushed < entries; ++pushed) push(1);
  });
  const auto wait_for = [&](std::size_t count) {
    const auto deadline = std::chrono::steady_clock::now() + seconds(20);
    while (pushed < count && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    return pushed.load();
  };
  // Three, and one for every two that were given out; those that were are not counted.
  EXPECT_EQ(wait_for(3), 3U);
  EXPECT_NE(feeder.wait_for(std::chrono::milliseconds(50)), std::future_status::ready);
  EXPECT_EQ(pushed, 3U);
  for (const std::size_t ahead : {4U, 6U, 7U}) {
    const auto job = line_.try_take();
    ASSERT_NE(job, nullptr);
    EXPECT_EQ(wait_for(ahead), ahead);
    decode(*job);
    EXPECT_EQ(drain_unit(), 1U);
  }
  ASSERT_NE(line_.try_take(), nullptr);
  EXPECT_EQ(wait_for(entries), entries);
  ASSERT_EQ(feeder.wait_for(seconds(20)), std::future_status::ready);
  EXPECT_EQ(line_.clear(false), 5U);
}

TEST_F(UnitLineTest, TheFeederIsNeverFurtherAheadThanItMay) {
  std::atomic<std::size_t> pushed{0};
  auto feeder = std::async(std::launch::async, [&] {
    for (; pushed < 60; ++pushed) push(1);
  });
  const auto deadline = std::chrono::steady_clock::now() + seconds(20);
  for (int taken = 0; taken < 50;) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    const auto job = line_.try_take();
    if (!job) continue;
    decode(*job);
    EXPECT_EQ(drain_unit(), 1U);
    ++taken;
  }
  while (pushed < 50 + kAhead && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_NE(feeder.wait_for(std::chrono::milliseconds(50)), std::future_status::ready);
  EXPECT_EQ(pushed, 50 + kAhead);
  EXPECT_EQ(line_.clear(false), kAhead);
  EXPECT_EQ(feeder.wait_for(seconds(20)), std::future_status::ready);
}

}  // namespace
}  // namespace shardreel
