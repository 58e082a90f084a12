#pragma once
// Loaders of numbered shards, small enough that a test runs many of them.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "shardreel/loader.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"

namespace shardreel::testing {

/// One rank, gray clips of 8 frames of 64x48, which `check_numbered_clip` can judge; 42 of them
/// (24 KiB each) fit the shuffle.
inline LoaderOptions small_options(const std::vector<std::string>& urls) {
  LoaderOptions options;
  options.input.urls = urls;
  options.window.num_frames = 8;
  options.transform.width = 64;
  options.transform.height = 48;
  options.transform.color = ColorMode::kGray;
  options.batch.batch_size = 4;
  options.batch.drop_last = false;
  options.batch.rank = 0;
  options.batch.world_size = 1;
  options.resource.memory_bytes = "64MiB";
  options.resource.shuffle_bytes = "1MiB";
  options.resource.min_fill = 10;
  options.resource.decode_threads = 2;
  return options;
}

/// Tests over five shards of twenty numbered videos in all, made once a suite.
class NumberedShardsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    dir_ = new ScratchDir();
    shards_ = new NumberedShards(make_numbered_shards(*dir_, 5, 20));
  }
  static void TearDownTestSuite() {
    delete shards_;
    delete dir_;
  }

  static inline ScratchDir* dir_ = nullptr;
  static inline NumberedShards* shards_ = nullptr;
};

/// After a loader was stopped: every clip that was cut was delivered or dropped for a reason.
inline void expect_conserved(const Metrics& metrics) {
  std::uint64_t dropped = 0;
  for (const auto& [reason, count] : metrics.clips_dropped_by_reason) dropped += count;
  EXPECT_EQ(metrics.clips_cut, metrics.clips + dropped);
}

/// And nothing is held.
inline void expect_accounted(const Metrics& metrics) {
  expect_conserved(metrics);
  for (const auto& [tag, use] : metrics.ledger) EXPECT_EQ(use.now, 0U) << tag;
  EXPECT_EQ(metrics.shuffle_clips, 0U);
}

}  // namespace shardreel::testing
