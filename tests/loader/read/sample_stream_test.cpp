// The order of samples is a function of the shards, not of who reads how fast.

#include "loader/read/sample_stream.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <deque>
#include <fstream>
#include <random>
#include <thread>

#include "loader/read/read_service.h"
#include "shardreel/shard_writer.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

/// Shards with the given numbers of samples; sample i of shard s has the key "s.i" without the dot.
std::vector<std::string> make_shards(const testing::ScratchDir& dir, const std::vector<int>& sizes,
                                     std::size_t field_bytes) {
  std::vector<std::string> paths;
  for (std::size_t s = 0; s < sizes.size(); ++s) {
    auto writer =
        ShardWriter::create({.directory = dir.path().string(), .prefix = fmt::format("{}-", s)})
            .value();
    for (int i = 0; i < sizes[s]; ++i) {
      const std::vector<FieldToWrite> fields{
          {"mp4", testing::content_of(std::string(field_bytes, static_cast<char>('a' + s)))},
          {"txt", testing::content_of(fmt::format("{}/{}", s, i))}};
      writer.write(fmt::format("s{}_{}", s, i), fields).value();
    }
    const auto written = writer.finish().value();
    if (written.empty()) {  // a valid archive without members
      paths.push_back(dir / fmt::format("{}-nothing.tar", s));
      std::ofstream(paths.back(), std::ios::binary) << std::string(10240, '\0');
    } else {
      paths.push_back(written.front().path);
    }
  }
  return paths;
}

struct Reading {
  explicit Reading(InputOptions with, std::vector<std::string> urls)
      : options(std::move(with)),
        thread([this] { loop.run(); }),
        service(options, 1, ShardList::parse(urls).value(), RemoteShape(), ledger, loop) {}
  ~Reading() {
    loop.stop();
    thread.join();
  }

  std::vector<std::string> keys(const ShardShare& share, std::uint64_t shard_bytes,
                                std::uint64_t inline_bytes, std::size_t keep = 1) {
    std::stop_source stop;
    std::vector<std::string> all;
    {
      SampleStream stream(
          service, {.share = share, .shard_bytes = shard_bytes, .inline_bytes = inline_bytes},
          stop.get_token());
      std::deque<SampleEvent> kept;  // samples that live on while others are read
      while (auto event = stream.next()) {
        all.push_back(event->item.sample ? event->item.sample->key
                                         : "failed: " + event->item.failure->error.describe());
        kept.push_back(std::move(*event));
        if (kept.size() > keep) kept.pop_front();
      }
      stop.request_stop();
    }
    return all;
  }

  InputOptions options;
  MemoryLedger ledger;
  boost::asio::io_context loop;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
      loop.get_executor()};
  std::thread thread;
  ReadService service;
};

ShardShare all_of(std::size_t shards) {
  return plan_shards(shards, ShuffleMode::kNone, 0, 0, 0, 1);
}

/// The brute-force model: open shards take turns, an ended one is replaced at once.
std::vector<std::string> model(const std::vector<int>& sizes, std::size_t open_shards) {
  struct Turn {
    std::size_t shard;
    int next = 0;
  };
  std::vector<Turn> turns;
  std::size_t next_shard = 0;
  while (next_shard < sizes.size() && turns.size() < open_shards) turns.push_back({next_shard++});
  std::vector<std::string> keys;
  for (std::size_t t = 0; !turns.empty();) {
    while (turns[t].next == sizes[turns[t].shard] && next_shard < sizes.size()) {
      turns[t] = {next_shard++};
    }
    if (turns[t].next == sizes[turns[t].shard]) {
      turns.erase(turns.begin() + static_cast<std::ptrdiff_t>(t));
      if (t == turns.size()) t = 0;
      continue;
    }
    keys.push_back(fmt::format("s{}_{}", turns[t].shard, turns[t].next++));
    t = (t + 1) % turns.size();
  }
  return keys;
}

TEST(SampleStreamProperty, InterleavesAsTheModelForAnyThreadsAndMemory) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(200); ++round) {
    testing::ScratchDir dir;
    std::vector<int> sizes(1 + random() % 7);
    for (int& size : sizes) size = static_cast<int>(random() % 12);
    InputOptions options;
    options.open_shards = static_cast<std::uint32_t>(1 + random() % 5);
    options.reader_threads = static_cast<std::uint32_t>(1 + random() % 4);
    Reading reading(options, make_shards(dir, sizes, 1 + random() % 20000));
    // From "one sample at a time" to "everything at once"; small inline bytes read by ranges.
    const std::uint64_t shard_bytes = std::uint64_t{65536} << random() % 6;
    const std::uint64_t inline_bytes = random() % 2 == 0 ? 4096 : 32768;
    ASSERT_EQ(reading.keys(all_of(sizes.size()), shard_bytes, inline_bytes),
              model(sizes, options.open_shards));
    EXPECT_EQ(reading.ledger.snapshot().total.now, 0U);
  }
}

TEST(SampleStream, ASampleLargerThanItsShareFailsInsteadOfWaiting) {
  testing::ScratchDir dir;
  Reading reading({}, make_shards(dir, {2}, 30000));
  const auto keys = reading.keys(all_of(1), 16 << 10, 32 << 10);
  ASSERT_EQ(keys.size(), 2U);
  EXPECT_NE(keys[0].find("failed"), std::string::npos);
  EXPECT_NE(keys[0].find("memory_bytes"), std::string::npos) << keys[0];
}

TEST(SampleStream, ARankTakesItsSamplesByOrdinal) {
  testing::ScratchDir dir;
  Reading reading({}, make_shards(dir, {10}, 100));
  const auto share = plan_shards(1, ShuffleMode::kNone, 0, 0, 1, 3);
  EXPECT_EQ(reading.keys(share, 1 << 20, 1 << 20),
            (std::vector<std::string>{"s0_1", "s0_4", "s0_7"}));
}

TEST(SampleStream, FailuresStandInTheirPlace) {
  testing::ScratchDir dir;
  auto paths = make_shards(dir, {2, 2}, 100);
  paths.insert(paths.begin() + 1, dir / "missing.tar");
  InputOptions options;
  options.open_shards = 3;
  Reading reading(options, paths);
  const auto keys = reading.keys(all_of(3), 1 << 20, 1 << 20);
  ASSERT_EQ(keys.size(), 5U);
  EXPECT_EQ(keys[0], "s0_0");
  EXPECT_NE(keys[1].find("missing.tar"), std::string::npos);
  EXPECT_EQ(keys[2], "s1_0");
}

TEST(SampleStream, AShardIsReadAheadTheMoreTheMoreIsTaken) {
  testing::ScratchDir dir;
  Reading reading({}, make_shards(dir, {40}, 100));
  std::stop_source stop;
  SampleStream stream(reading.service,
                      {.share = all_of(1), .shard_bytes = 1 << 20, .inline_bytes = 1 << 20},
                      stop.get_token());
  // Two fields a sample, a page each.
  const auto ahead = [&] { return reading.ledger.snapshot().total.now / 8192; };
  const auto settles_at = [&](std::uint64_t samples) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (ahead() < samples && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    // It could only go on: none more comes.
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    return ahead();
  };
  EXPECT_EQ(settles_at(1), 1U);
  for (std::uint64_t taken = 1; taken <= 10; ++taken) {
    ASSERT_TRUE(stream.next());
    EXPECT_EQ(settles_at(1 + 2 * taken), 1 + 2 * taken);
  }
  stop.request_stop();
}

TEST(SampleStream, SaysWhatItWaitsFor) {
  Reading reading({}, {"pipe:sleep 1000"});
  std::stop_source stop;
  SampleStream stream(reading.service,
                      {.share = all_of(1), .shard_bytes = 1 << 20, .inline_bytes = 1 << 20},
                      stop.get_token());
  std::jthread reader([&] { EXPECT_FALSE(stream.next()); });
  std::string waiting;
  while (waiting.empty()) waiting = stream.waiting_for();
  EXPECT_EQ(waiting, "shard pipe:sleep 1000 at byte 0");
  stop.request_stop();
}

}  // namespace
}  // namespace shardreel
