#include "loader/memory/block_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "loader/memory/process_memory.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

TEST(BlockPool, GivesAllBlocksApartAndThenNone) {
  BlockPool pool(5000, 10);
  std::vector<Block> blocks;
  std::set<const std::byte*> starts;
  for (int i = 0; i < 10; ++i) {
    blocks.push_back(pool.take());
    ASSERT_TRUE(blocks.back());
    EXPECT_GE(blocks.back().bytes().size(), 5000U);
    std::memset(blocks.back().bytes().data(), i, blocks.back().bytes().size());
    starts.insert(blocks.back().bytes().data());
  }
  EXPECT_EQ(starts.size(), 10U);
  EXPECT_FALSE(pool.take());
  for (int i = 0; i < 10; ++i) {
    for (const std::byte b : blocks[static_cast<std::size_t>(i)].bytes()) {
      ASSERT_EQ(b, static_cast<std::byte>(i));
    }
  }
  blocks.pop_back();
  EXPECT_TRUE(pool.take());
}

TEST(BlockPool, TheBlockFreedLastIsReusedFirst) {
  BlockPool pool(4096, 100);
  Block first = pool.take();
  const std::byte* where = first.bytes().data();
  first = Block();
  EXPECT_EQ(pool.in_use(), 0U);
  EXPECT_EQ(pool.take().bytes().data(), where);
}

TEST(BlockPool, AnEmptyPoolGivesNothing) {
  BlockPool pool(4096, 0);
  EXPECT_FALSE(pool.take());
}

TEST(BlockPool, ResidentMemoryFollowsUseNotCapacity) {
  if (testing::sanitized()) GTEST_SKIP() << "kernel memory is not ours to judge under a sanitizer";
  // RSS: the PSS of shared libraries falls when another program that uses them starts.
  const std::uint64_t before = process_memory().rss_bytes;
  BlockPool pool(1 << 20, 4096);  // 4 GiB of addresses
  std::vector<Block> blocks;
  for (int i = 0; i < 64; ++i) {
    blocks.push_back(pool.take());
    std::memset(blocks.back().bytes().data(), 1, blocks.back().bytes().size());
  }
  const std::uint64_t grown = process_memory().rss_bytes - before;
  EXPECT_GE(grown, std::uint64_t{60} << 20);
  EXPECT_LE(grown, std::uint64_t{80} << 20);  // 64 MiB in use, 4 ahead, and the tables
}

TEST(BlockPool, FreeBlocksGoBackToTheSystemAndComeAgain) {
  constexpr std::uint64_t kBlock = std::uint64_t{2} << 20;
  BlockPool pool(kBlock, 16, BlockPool::Ahead::kFirst);
  std::vector<Block> blocks;
  for (int i = 0; i < 16; ++i) {
    blocks.push_back(pool.take());
    std::memset(blocks.back().bytes().data(), i + 1, kBlock);
  }
  pool.return_free(16 * kBlock, 0);
  EXPECT_EQ(pool.resident_bytes(), 16 * kBlock) << "none is free";
  blocks.resize(4);
  const std::uint64_t before = process_memory().anonymous_bytes;
  pool.return_free(5 * kBlock, 0);
  EXPECT_EQ(pool.resident_bytes(), 11 * kBlock);
  if (!testing::sanitized()) {
    EXPECT_NEAR(static_cast<double>(before - process_memory().anonymous_bytes), 5. * kBlock,
                kBlock);
  }
  pool.return_free(16 * kBlock, 3 * kBlock);
  EXPECT_EQ(pool.resident_bytes(), (4 + 3) * kBlock);
  // All can be taken again, each once, and those that stayed are as they were.
  std::set<const std::byte*> starts;
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(blocks[i].bytes().back(), static_cast<std::byte>(i + 1));
  }
  while (blocks.size() < 16) {
    blocks.push_back(pool.take());
    ASSERT_TRUE(blocks.back());
    std::memset(blocks.back().bytes().data(), 1, kBlock);
  }
  for (Block& block : blocks) starts.insert(block.bytes().data());
  EXPECT_EQ(starts.size(), 16U);
  EXPECT_FALSE(pool.take());
  EXPECT_EQ(pool.resident_bytes(), 16 * kBlock);
}

TEST(BlockPool, TheFirstBlockAloneOrAlwaysTheNextIsFaultedInAhead) {
  constexpr std::uint64_t kBlock = std::uint64_t{8} << 20;
  const auto reaches = [](const BlockPool& pool, std::uint64_t bytes) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (pool.resident_bytes() < bytes && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // and not more
    return pool.resident_bytes();
  };
  BlockPool first(kBlock, 4, BlockPool::Ahead::kFirst), next(kBlock, 4);
  EXPECT_EQ(reaches(first, kBlock), kBlock);
  EXPECT_EQ(reaches(next, kBlock), kBlock);
  const Block a = first.take(), b = next.take();
  EXPECT_EQ(reaches(next, 2 * kBlock), 2 * kBlock);
  EXPECT_EQ(reaches(first, kBlock), kBlock);
  const Block c = first.take();
  EXPECT_EQ(reaches(first, 2 * kBlock), 2 * kBlock);
}

TEST(BlockPool, ThreadsShareIt) {
  BlockPool pool(4096, 64);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      std::vector<Block> mine;
      for (int i = 0; i < 5000; ++i) {
        if (i % 100 == 0) pool.return_free(8 * pool.block_bytes(), 4096 * (random() % 4));
        if (mine.size() < 16 && random() % 2 == 0) {
          mine.push_back(pool.take());
          ASSERT_TRUE(mine.back());
          std::memset(mine.back().bytes().data(), t, 64);
        } else if (!mine.empty()) {
          ASSERT_EQ(mine.back().bytes()[63], static_cast<std::byte>(t));
          mine.pop_back();
        }
      }
    });
  }
  threads.clear();
  EXPECT_EQ(pool.in_use(), 0U);
}

}  // namespace
}  // namespace shardreel
