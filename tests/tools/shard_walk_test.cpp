// Walking over shards: everything once and in order, what cannot be opened, stopping, and the
// reference's way of merging a cut sample with its namesake in the next shard.

#include "tools/commands/shard_walk.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::tools {
namespace {

using shardreel::testing::run_command;
using shardreel::testing::ScratchDir;
using shardreel::testing::tar_end;
using shardreel::testing::tar_member;
using shardreel::testing::write_file;

/// Writes down every call.
class Notes final : public WalkVisitor {
 public:
  Result<bool> sample(WalkedSample walked) override {
    std::string line = walked.sample.key;
    for (const Field& field : walked.sample.fields) {
      const std::string text = field.text().value();
      line += fmt::format(" {}={}:{}", field.name, text.substr(0, 20), text.size());
    }
    samples.push_back(line);
    merged.push_back(!walked.field_shards.empty());
    events.push_back(fmt::format("{}:{}", walked.shard_number, walked.sample.key));
    return samples.size() < enough;
  }
  Result<bool> failure(std::uint64_t shard, const FailedSample& failure) override {
    failures.push_back(failure.error);
    events.push_back(fmt::format("{}!{}", shard, to_string(failure.error.code)));
    return true;
  }
  Result<bool> shard_end(const WalkedShard& shard) override {
    shards.push_back(shard);
    events.push_back(fmt::format("{}.{}", shard.number, shard.whole ? "whole" : "broken"));
    return true;
  }

  std::size_t enough = SIZE_MAX;
  std::vector<std::string> samples, events;
  std::vector<bool> merged;
  std::vector<Error> failures;
  std::vector<WalkedShard> shards;
};

Notes walk(const std::vector<std::string>& urls, const WalkOptions& options = {}) {
  Notes notes;
  const auto list = ShardList::parse(urls);
  EXPECT_TRUE(list);
  const auto walked = walk_shards(*list, options, notes, {});
  EXPECT_TRUE(walked) << walked.error().describe();
  return notes;
}

WalkOptions merging() {
  WalkOptions options;
  options.integrity = Integrity::kCompat;
  options.merge_cut_samples = true;
  return options;
}

TEST(ShardWalk, GivesEverythingOnceInOrder) {
  const ScratchDir dir;
  const std::string first = tar_member("a.txt", "one") + tar_member("b.txt", "two") + tar_end();
  write_file(dir / "0.tar", first);
  write_file(dir / "1.tar", tar_member("b.txt", "three"));  // no end mark
  const auto notes = walk(
      {dir / "{0..2}.tar", "file:" + (dir / "0.tar"), "pipe:cat " + (dir / "0.tar"), "pipe:false"});
  EXPECT_EQ(notes.events,
            (std::vector<std::string>{"0:a", "0:b", "0.whole", "1!truncated", "1.broken",
                                      "2!not_found", "2.broken", "3:a", "3:b", "3.whole", "4:a",
                                      "4:b", "4.whole", "5!pipe_failed", "5.broken"}));
  EXPECT_EQ(notes.shards[0].file_bytes, first.size());
  EXPECT_EQ(notes.shards[0].bytes, first.size());
  EXPECT_EQ(notes.shards[0].samples, 2u);
  EXPECT_FALSE(notes.shards[4].file_bytes);
  EXPECT_EQ(notes.shards[4].bytes, first.size());
  EXPECT_EQ(notes.failures[0].shard, dir / "1.tar");
}

TEST(ShardWalk, LargeMembersAreRangesOfTheFileOrSpooled) {
  const ScratchDir dir;
  const std::string content(300000, 'x');
  write_file(dir / "0.tar", tar_member("a.mp4", content) + tar_end());
  for (const std::string& url : {dir / "0.tar", "pipe:cat " + (dir / "0.tar")}) {
    EXPECT_EQ(walk({url}).samples, std::vector<std::string>{"a mp4=xxxxxxxxxxxxxxxxxxxx:300000"});
  }
}

TEST(ShardWalk, EndsWhenTheVisitorHasEnoughOrIsStopped) {
  const ScratchDir dir;
  write_file(dir / "0.tar", tar_member("a.txt", "1") + tar_member("b.txt", "2") + tar_end());
  const auto list = ShardList::parse({dir / "0.tar", dir / "0.tar"});
  Notes one;
  one.enough = 1;
  const auto ended = walk_shards(*list, {}, one, {});
  ASSERT_TRUE(ended);
  EXPECT_FALSE(*ended);
  EXPECT_EQ(one.events, std::vector<std::string>{"0:a"});

  std::stop_source stop;
  stop.request_stop();
  Notes none;
  const auto stopped = walk_shards(*list, {}, none, stop.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kStopped);
  EXPECT_TRUE(none.events.empty());
}

TEST(ShardWalk, ACutSampleAndItsNamesakeBecomeOneOnlyWhenAsked) {
  const ScratchDir dir;
  write_file(dir / "0.tar", tar_member("a.jpg", "1") + tar_member("b.jpg", "2") +
                                tar_member("b.txt", std::string(2000, 't')).substr(0, 1000));
  write_file(dir / "1.tar", tar_member("b.txt", "3") + tar_member("b.jpg", "4") + tar_end());
  auto notes = walk({dir / "{0..1}.tar"}, merging());
  EXPECT_EQ(notes.samples, (std::vector<std::string>{"a jpg=1:1", "b jpg=2:1 txt=3:1"}));
  EXPECT_EQ(notes.merged, (std::vector<bool>{false, true}));
  EXPECT_EQ(notes.failures.size(), 1u);

  WalkOptions options = merging();
  options.merge_cut_samples = false;
  notes = walk({dir / "{0..1}.tar"}, options);
  EXPECT_EQ(notes.samples,
            (std::vector<std::string>{"a jpg=1:1", "b jpg=2:1", "b txt=3:1 jpg=4:1"}));
  EXPECT_EQ(walk({dir / "{0..1}.tar"}).samples,
            (std::vector<std::string>{"a jpg=1:1", "b txt=3:1 jpg=4:1"}));
}

/// The first shard cut everywhere, followed by others that begin with the key it may end with.
TEST(ShardWalk, MergesAsTheReferenceDoes) {
  const ScratchDir dir;
  const std::string large(1500, 'L');
  const std::string first = tar_member("a.jpg", "1") + tar_member("a.txt", large) +
                            tar_member("b.jpg", large) + tar_member("b.txt", "4") +
                            tar_member("c.jpg", "5") + tar_end();
  write_file(dir / "b.tar", tar_member("b.txt", "6") + tar_member("b.cls", "7") +
                                tar_member("d.txt", "8") + tar_end());
  write_file(dir / "c.tar", tar_member("c.txt", "9") + tar_end());
  write_file(dir / "a.tar", tar_member("a.cls", large).substr(0, 1200));
  write_file(dir / "none.tar", tar_end());
  std::vector<std::string> runs;
  for (std::size_t cut = 100; cut <= first.size(); cut += cut % 512 == 0 ? 256 : 156) {
    const std::string path = dir / fmt::format("cut{}.tar", cut);
    write_file(path, first.substr(0, cut));
    for (const char* then : {"b", "c", "a", "none,b", "missing,b", "a,a,b", "b,c"}) {
      std::string run = path;
      std::string name;
      for (const char c : std::string(then) + ",") {
        if (c != ',') {
          name += c;
          continue;
        }
        run += "," + (dir / (name + ".tar"));
        name.clear();
      }
      runs.push_back(run);
    }
  }
  std::string arguments;
  for (const std::string& run : runs) arguments += " " + run;
  write_file(dir / "arguments", arguments);
  const std::string expected =
      run_command(fmt::format("xargs -a {} /usr/bin/python3 {} || [ $? -eq 123 ]",
                              dir / "arguments", SHARDREEL_MERGE_ORACLE));
  if (!expected.starts_with("run")) GTEST_SKIP() << "no Python webdataset: " << expected;

  std::string ours;
  std::size_t merged = 0;
  for (const std::string& run : runs) {
    std::vector<std::string> urls;
    for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
      end = run.find(',', begin);
      urls.push_back(run.substr(begin, end == std::string::npos ? end : end - begin));
    }
    const auto notes = walk(urls, merging());
    ours += "run\n";
    for (const std::string& line : notes.samples) ours += line + "\n";
    for (const bool one : notes.merged) merged += one;
  }
  EXPECT_EQ(ours, expected);
  EXPECT_GT(merged, 10u);
}

}  // namespace
}  // namespace shardreel::tools
