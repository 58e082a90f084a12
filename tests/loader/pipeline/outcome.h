#pragma once
// What a run over shards gives, to compare runs with and without indexes.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "shardreel/loader.h"
#include "tools/commands/index_build.h"

namespace shardreel::testing {

/// All that a run delivers and says, but not how much it read.
struct Outcome {
  std::vector<ClipId> ids;
  std::vector<std::uint64_t> pixels, fields;
  std::vector<std::uint64_t> batches;  // of each epoch
  std::vector<std::string> failures, warnings;
  std::string counts, error;
  std::uint64_t bytes_read = 0;
  std::uint64_t held_bytes = 0;  // when all was over
};

inline void index_shards(const std::vector<std::string>& urls, const std::string& dir) {
  tools::IndexBuildOptions build;
  build.index_dir = dir;
  build.video_fields = InputOptions().video_fields;
  for (const std::string& url : urls) {
    const auto report = tools::index_shard(url, build, {});
    ASSERT_EQ(report.state, tools::IndexState::kWritten) << report.reason;
  }
}

inline Outcome run(const LoaderOptions& options) {
  Outcome run;
  std::mutex mutex;
  Loader loader = Loader::open(options, [&](LogLevel level, std::string_view text) {
    const std::lock_guard lock(mutex);
    // What an epoch lost is among the failures.
    const bool loss = text.starts_with("epoch ");
    if (level == LogLevel::kWarning && !loss) run.warnings.emplace_back(text);
  });
  try {
    for (std::uint64_t epoch = 0; epoch < options.batch.epochs; ++epoch) {
      run.batches.push_back(0);
      while (auto batch = loader.next()) {
        ++run.batches.back();
        for (std::size_t i = 0; i < batch->size(); ++i) {
          const ClipInfo& clip = batch->clips[i];
          run.ids.push_back(clip.id);
          const auto bytes = batch->clip_bytes(i);
          run.pixels.push_back(XXH3_64bits(bytes.data(), bytes.size()));
          std::string fields = clip.sample->key + clip.sample->shard;
          for (const auto& [name, text] : clip.sample->fields) fields += name + text;
          run.fields.push_back(XXH3_64bits(fields.data(), fields.size()));
        }
      }
    }
  } catch (const ShardreelError& error) {
    run.error = error.error().describe();
  }
  loader.stop();
  const Metrics metrics = loader.metrics();
  for (const auto& [tag, use] : metrics.ledger) run.held_bytes += use.now;
  // The connections of a network keep theirs as long as the loader lives.
  const bool remote = options.input.urls.front().find("://") != std::string::npos;
  if (!remote) {
    EXPECT_EQ(run.held_bytes, 0u);
  }
  for (const Error& failure : metrics.first_failures) run.failures.push_back(failure.describe());
  run.counts = fmt::format("{} {} {} {} {} {} {}", metrics.samples, metrics.samples_complete,
                           metrics.samples_partial, metrics.samples_skipped,
                           metrics.samples_filtered, metrics.shards_failed, metrics.clips_repeated);
  run.bytes_read = metrics.bytes_read;
  return run;
}

inline void expect_same(const Outcome& a, const Outcome& b) {
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.pixels, b.pixels);
  EXPECT_EQ(a.fields, b.fields);
  EXPECT_EQ(a.batches, b.batches);
  EXPECT_EQ(a.failures, b.failures);
  if (a.error.empty()) {
    EXPECT_EQ(a.counts, b.counts);  // else they tell how far ahead was read
  }
  EXPECT_EQ(a.error, b.error);
  EXPECT_EQ(a.held_bytes, b.held_bytes);
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace shardreel::testing
