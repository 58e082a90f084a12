#include "loader/pipeline/memory_plan.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "shardreel/units.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

std::uint64_t sum(const MemoryPlan& plan, const LoaderOptions& options) {
  std::uint64_t total = 0;
  for (const PlanRow& row : plan.rows(options)) total += row.bytes;
  return total;
}

TEST(MemoryPlan, TheDefaultsSpendTheBudgetAndNoMore) {
  const LoaderOptions options;
  const auto plan = make_memory_plan(options);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->memory_bytes, 2_GiB);
  EXPECT_EQ(plan->lane_shuffle_bytes, 1_GiB);
  EXPECT_EQ(plan->clip_bytes, 16U * 224 * 224 * 3);
  EXPECT_LE(sum(*plan, options), plan->memory_bytes);
  EXPECT_GE(sum(*plan, options), plan->memory_bytes - 1_MiB);
}

TEST(MemoryPlan, ClipsOnTheirWayDownFromGpusAreInIt) {
  LoaderOptions options;
  options.resource.decode_threads = 6;
  options.resource.devices = {"cuda:0", "cuda:1"};
  options.resource.decode = DecodeDevice::kCpu;
  const std::uint64_t without = make_memory_plan(options)->smallest_bytes;
  EXPECT_EQ(make_memory_plan(options)->pinned_bytes, 0U);
  options.resource.decode = DecodeDevice::kAuto;
  const auto plan = make_memory_plan(options);
  const std::uint64_t clip = 16U * 224 * 224 * 3;
  EXPECT_EQ(plan->pinned_bytes, (6 + 2) * clip) << "one a thread, one a lane";
  EXPECT_EQ(plan->rows(options).back().share, "pinned clips");
  EXPECT_EQ(plan->rows(options).back().bytes, plan->pinned_bytes);
  EXPECT_EQ(plan->smallest_bytes, without + 2 * plan->pinned_bytes) << "half is the shuffle's";
  EXPECT_LE(sum(*plan, options), plan->memory_bytes);
  EXPECT_GE(sum(*plan, options), plan->memory_bytes - 1_MiB);
  EXPECT_EQ(plan->lane_shuffle_bytes, 512_MiB) << "decides the order, and does not change";
  options.resource.devices = {"cpu:0"};
  EXPECT_EQ(make_memory_plan(options)->pinned_bytes, 0U) << "the CPU decodes for CPU lanes";
  options.resource.decode = DecodeDevice::kCuda;
  EXPECT_EQ(make_memory_plan(options)->pinned_bytes, 6 * clip) << "no room on a GPU to leave";
}

TEST(MemoryPlan, WhatDoesNotFitIsRefusedWithTheFigureThatWould) {
  LoaderOptions options;
  options.resource.memory_bytes = "100MiB";
  for (const char* shuffle : {"", "64MiB"}) {
    options.resource.shuffle_bytes = shuffle;
    options.resource.memory_bytes = "100MiB";
    const auto refused = make_memory_plan(options);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kMemory);
    // The figure is in the message in bytes: exactly that much is enough, one byte less is not.
    const auto open = refused.error().message.find('(');
    const std::uint64_t figure = std::stoull(refused.error().message.substr(open + 1));
    options.resource.memory_bytes = std::to_string(figure);
    EXPECT_TRUE(make_memory_plan(options)) << figure;
    options.resource.memory_bytes = std::to_string(figure - 2);
    EXPECT_FALSE(make_memory_plan(options));
  }
}

TEST(MemoryPlan, PercentagesAreOfTheMachineOrItsCgroup) {
  const auto all = resolve_memory_bytes("100%", 1);
  const auto shared = resolve_memory_bytes("50%", 4);
  ASSERT_TRUE(all);
  ASSERT_TRUE(shared);
  EXPECT_NEAR(static_cast<double>(*all) / 8, static_cast<double>(*shared), 2);
  EXPECT_FALSE(resolve_memory_bytes("0%", 1));
  EXPECT_FALSE(resolve_memory_bytes("101%", 1));
  EXPECT_FALSE(resolve_memory_bytes("much%", 1));
}

TEST(MemoryPlanProperty, SharesNeverExceedTheBudget) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(5000); ++round) {
    LoaderOptions options;
    options.resource.memory_bytes = std::to_string(32_MiB << random() % 8);
    if (random() % 2 == 0) options.resource.shuffle_bytes = std::to_string(random() % 2_GiB);
    options.resource.devices.assign(1 + random() % 8, "cpu:0");
    options.batch.batch_size = static_cast<std::uint32_t>(1 + random() % 32);
    options.batch.shuffle = random() % 4 == 0 ? ShuffleMode::kNone : ShuffleMode::kAll;
    options.window.num_frames = static_cast<std::uint32_t>(1 + random() % 64);
    options.window.window_stride = static_cast<std::uint32_t>(random() % 64);
    options.input.open_shards = static_cast<std::uint32_t>(1 + random() % 16);
    options.input.open_videos = static_cast<std::uint32_t>(1 + random() % 32);
    if (random() % 3 == 0) options.resource.shuffle_domain = ShuffleDomain::kPackets;
    options.window.windows_per_video = random() % 2;
    if (random() % 3 == 0) options.resource.decode = DecodeDevice::kCuda;
    options.resource.decode_threads = static_cast<std::uint32_t>(1 + random() % 16);
    const auto plan = make_memory_plan(options);
    if (!plan) continue;
    ASSERT_LE(plan->most_unit_bytes, plan->packet_bytes);
    ASSERT_LE(sum(*plan, options), plan->memory_bytes);
    ASSERT_GE(plan->lane_decode_bytes, plan->open_clips * plan->clip_bytes);
    // A video's member always fits what it may take, so that no slot can wait for ever.
    ASSERT_LE(plan->inline_bytes, plan->shard_bytes);
    ASSERT_LE(plan->inline_bytes * options.input.open_videos, plan->video_bytes);
  }
}

}  // namespace
}  // namespace shardreel
