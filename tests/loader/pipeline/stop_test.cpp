// Stopping at any moment: nothing hangs, nothing leaks, every clip is accounted for.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <random>
#include <thread>

#include "shardreel/loader.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::expect_accounted;
using testing::ScratchDir;

LoaderOptions endless_options(const std::vector<std::string>& urls) {
  LoaderOptions options = testing::small_options(urls);
  options.batch.epochs = 0;
  options.resource.min_fill = 5;
  return options;
}

std::size_t open_files() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

/// Consume on every lane until stopped or over; the batches die as they come.
std::vector<std::jthread> consume(Loader& loader) {
  std::vector<std::jthread> threads;
  for (std::size_t lane = 0; lane < loader.lanes(); ++lane) {
    threads.emplace_back([&loader, lane] {
      try {
        for (;;) (void)loader.next(lane);
      } catch (const ShardreelError& error) {
        EXPECT_EQ(error.error().code, ErrorCode::kStopped) << error.what();
      }
    });
  }
  return threads;
}

TEST(StopProperty, AtARandomMomentNothingHangsOrLeaks) {
  std::mt19937_64 random(testing::test_seed());
  ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 3, 9);
  const std::size_t files = open_files();
  for (std::uint64_t round = 0; round < testing::rounds(1000); ++round) {
    LoaderOptions options = endless_options(shards.paths);
    options.resource.decode_threads = 1 + random() % 4;
    options.input.open_videos = 1 + random() % 8;
    if (random() % 3 == 0) {
      options.resource.devices = {"cpu:0", "cpu:1"};
      options.batch.ranks = RankMode::kExact;
    } else if (random() % 3 == 0) {
      options.batch.batches_per_epoch = 1 + random() % 20;
    }
    if (random() % 3 == 0) options.resource.shuffle_domain = ShuffleDomain::kPackets;
    if (random() % 4 == 0) options.input.urls.push_back("pipe:sleep 1000");
    Loader loader = Loader::open(options);
    std::vector<std::jthread> consumers;
    if (random() % 4 != 0) consumers = consume(loader);  // else a full pipeline stands still
    // The moment is random, not awaited: anything from "just opened" to several epochs.
    const auto until = steady_clock::now() + std::chrono::microseconds(random() % 30000);
    while (steady_clock::now() < until) {
      if (random() % 64 == 0) loader.set_epoch(random() % 5);
      std::this_thread::yield();
    }
    const auto begin = steady_clock::now();
    loader.stop();
    consumers.clear();
    ASSERT_LT(steady_clock::now() - begin, seconds(testing::sanitized() ? 20 : 5)) << round;
    expect_accounted(loader.metrics());
  }
  EXPECT_EQ(open_files(), files);
}

TEST(Stop, ASilentPipeIsGivenUpAtOnce) {
  Loader loader = Loader::open(endless_options({"pipe:sleep 1000"}));
  auto waiting = std::async(std::launch::async,
                            [&loader] { EXPECT_THROW((void)loader.next(), ShardreelError); });
  loader.stop();
  EXPECT_EQ(waiting.wait_for(seconds(5)), std::future_status::ready);
}

TEST(Stop, ACommandThatClosedItsOutputAndLivesOnIsGivenUpToo) {
  Loader loader = Loader::open(endless_options({"pipe:exec >&-; sleep 1000"}));
  loader.stop();
}

TEST(Stop, TwiceAndFromSeveralThreadsIsFine) {
  ScratchDir dir;
  const auto shards = testing::make_numbered_shards(dir, 1, 3);
  Loader loader = Loader::open(endless_options(shards.paths));
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&loader] { loader.stop(); });
  threads.clear();
  EXPECT_THROW((void)loader.next(), ShardreelError);
}

}  // namespace
}  // namespace shardreel
