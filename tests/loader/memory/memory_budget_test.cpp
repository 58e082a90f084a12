#include "loader/memory/memory_budget.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace shardreel {
namespace {

TEST(MemoryShare, RefusesWhatDoesNotFitAndCountsExactly) {
  MemoryLedger ledger;
  MemoryShare share(ledger, "decode", 100);
  auto first = share.try_reserve(60, MemoryTag::kDecode);
  ASSERT_TRUE(first);
  EXPECT_FALSE(share.try_reserve(41, MemoryTag::kDecode));
  auto second = share.try_reserve(40, MemoryTag::kClip);
  ASSERT_TRUE(second);
  EXPECT_EQ(share.in_use(), 100U);
  first->release();
  EXPECT_EQ(share.in_use(), 40U);
  const auto use = ledger.snapshot();
  EXPECT_EQ(use.total.now, 40U);
  EXPECT_EQ(use.total.peak, 100U);
  EXPECT_EQ(use.tags[static_cast<std::size_t>(MemoryTag::kDecode)].peak, 60U);
}

TEST(MemoryShare, AHugeRequestDoesNotOverflow) {
  MemoryLedger ledger;
  MemoryShare share(ledger, "decode", 100);
  auto some = share.try_reserve(50, MemoryTag::kDecode);
  EXPECT_FALSE(share.try_reserve(UINT64_MAX - 20, MemoryTag::kDecode));
}

TEST(Reservation, SplitsAndMovesWithoutLosingBytes) {
  MemoryLedger ledger;
  MemoryShare decode(ledger, "decode", 100);
  MemoryShare shuffle(ledger, "shuffle", 30);
  Reservation unit = *decode.try_reserve(90, MemoryTag::kDecode);
  Reservation clip = unit.split(30, MemoryTag::kClip);
  EXPECT_EQ(unit.bytes(), 60U);
  EXPECT_TRUE(clip.move_to(shuffle));
  EXPECT_EQ(decode.in_use(), 60U);
  EXPECT_EQ(shuffle.in_use(), 30U);
  Reservation more = unit.split(10, MemoryTag::kClip);
  EXPECT_FALSE(more.move_to(shuffle));  // full: nothing changed
  EXPECT_EQ(decode.in_use(), 60U);
  EXPECT_EQ(ledger.snapshot().total.now, 90U);
  clip = std::move(more);  // gives the old bytes back
  EXPECT_EQ(shuffle.in_use(), 0U);
  auto& same = clip;
  clip = std::move(same);  // self-move keeps it
  EXPECT_EQ(clip.bytes(), 10U);
}

TEST(MemoryShare, TellsWhenBytesComeBack) {
  MemoryLedger ledger;
  MemoryShare share(ledger, "decode", 100);
  int told = 0;
  share.on_release([&told] { ++told; });
  { auto some = share.try_reserve(50, MemoryTag::kDecode); }
  EXPECT_EQ(told, 1);
}

// Admission under contention: at no instant more than the capacity, and no refusal while there is
// room (an oversize request that is retried all the time must not starve small ones).
TEST(MemoryShare, AdmissionIsExactUnderContention) {
  MemoryLedger ledger;
  constexpr std::uint64_t kCapacity = 64;
  MemoryShare share(ledger, "decode", kCapacity);
  std::atomic<std::uint64_t> held{0};
  std::atomic<bool> over{false};
  std::atomic<std::uint64_t> wrongly_refused{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        auto bytes = share.try_reserve(1, MemoryTag::kDecode);
        if (!bytes) {
          ++wrongly_refused;  // eight threads hold eight of 64 at most
          continue;
        }
        if (++held > kCapacity) over = true;
        --held;
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 20000; ++i) (void)share.try_reserve(kCapacity + 1, MemoryTag::kDecode);
  });
  threads.clear();
  EXPECT_FALSE(over);
  EXPECT_EQ(wrongly_refused, 0U);
  EXPECT_EQ(share.in_use(), 0U);
  EXPECT_EQ(ledger.snapshot().total.now, 0U);
}

}  // namespace
}  // namespace shardreel
