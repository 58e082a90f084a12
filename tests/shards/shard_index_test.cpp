// Indexes: what is written is read back, whatever it is; whatever is wrong with a file is noticed.
#include "shardreel/shard_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "tests/shards/index_testing.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using testing::bytes_of;
using testing::identical;
using testing::IndexedShard;
using testing::random_shard;
using testing::rounds;
using testing::test_seed;
using testing::write_index;

TEST(ShardIndexTest, WhatIsWrittenIsReadBack) {
  std::mt19937_64 random(test_seed());
  for (std::uint64_t round = 0; round < rounds(400); ++round) {
    const IndexedShard shard = random_shard(random, random() % 12);
    const std::string bytes = write_index(shard);
    EXPECT_EQ(bytes, write_index(shard));
    const auto index = ShardIndex::load(bytes_of(bytes), "an index").value();
    ASSERT_EQ(index.count(), shard.samples.size());
    EXPECT_EQ(index.shard(), shard.identity);
    EXPECT_EQ(index.seekable(), shard.seekable);
    EXPECT_EQ(index.video_fields(), shard.video_fields);
    for (std::uint64_t i = 0; i < index.count(); ++i) {
      EXPECT_EQ(identical(index, i, shard.samples[i]), "") << "sample " << i << ", round " << round;
    }
  }
}

}  // namespace
}  // namespace shardreel
