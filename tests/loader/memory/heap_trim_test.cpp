#include "loader/memory/heap_trim.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "loader/memory/process_memory.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A thread's heap with a block in use here and there, which glibc alone would keep whole.
TEST(HeapTrim, HolesInAThreadsHeapGoBackToTheSystem) {
#ifndef __GLIBC__
  GTEST_SKIP() << "not glibc";
#endif
  if (testing::sanitized()) GTEST_SKIP() << "another heap";
  constexpr std::size_t kBlock = 48 << 10, kBlocks = 1000;
  std::vector<std::unique_ptr<char[]>> blocks(kBlocks);
  std::uint64_t full = 0, freed = 0, trimmed = 0;
  std::thread([&] {
    for (auto& block : blocks) {
      block = std::make_unique<char[]>(kBlock);
      std::memset(block.get(), 1, kBlock);
    }
    full = process_memory().anonymous_bytes;
    for (std::size_t i = 0; i < kBlocks; ++i) {
      if (i % 20 != 0) blocks[i].reset();
    }
    freed = process_memory().anonymous_bytes;
    trim_heap();
    trimmed = process_memory().anonymous_bytes;
  }).join();
  EXPECT_GT(freed + kBlock * kBlocks / 2, full) << "the heap gives back by itself";
  EXPECT_LT(trimmed + kBlock * kBlocks * 8 / 10, full);
}

TEST(TrimPacer, ComesBackSoonWhileSomethingComesOfIt) {
  TrimPacer::Clock::time_point now;
  TrimPacer pacer(now);
  EXPECT_FALSE(pacer.due(now + TrimPacer::kLeast - milliseconds(1)));
  for (int i = 0; i < 5; ++i) {
    now += TrimPacer::kLeast;
    ASSERT_TRUE(pacer.due(now));
    pacer.done(now, milliseconds(1), TrimPacer::kWorthIt);
    EXPECT_FALSE(pacer.due(now + TrimPacer::kLeast - milliseconds(1)));
  }
}

TEST(TrimPacer, WaitsLongerWhereNothingComesOfIt) {
  TrimPacer::Clock::time_point now;
  TrimPacer pacer(now);
  for (const int pause : {10, 20, 40, 80, 160, 320, 320}) {
    EXPECT_FALSE(pacer.due(now + seconds(pause) - milliseconds(1)));
    now += seconds(pause);
    ASSERT_TRUE(pacer.due(now)) << pause;
    pacer.done(now, milliseconds(1), TrimPacer::kWorthIt - 1);
  }
  now += TrimPacer::kMost;
  pacer.done(now, milliseconds(1), TrimPacer::kWorthIt);
  EXPECT_TRUE(pacer.due(now + TrimPacer::kLeast));
}

TEST(TrimPacer, TakesAThousandthOfTheTimeAtMost) {
  TrimPacer::Clock::time_point now;
  TrimPacer pacer(now);
  pacer.done(now, milliseconds(500), 1 << 30);
  EXPECT_FALSE(pacer.due(now + seconds(499)));
  EXPECT_TRUE(pacer.due(now + seconds(500)));
}

}  // namespace
}  // namespace shardreel
