#include "tools/pack/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"
#include "tools/pack/folder.h"

namespace shardreel::tools {
namespace {

using shardreel::testing::read_file;
using shardreel::testing::rounds;
using shardreel::testing::ScratchDir;
using shardreel::testing::test_seed;
using shardreel::testing::write_file;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(PackJournal, KeepsItsLinesAndIsOneProcesss) {
  const ScratchDir scratch;
  const std::string path = scratch / "j";
  {
    auto journal = Journal::open(path).value();
    EXPECT_THAT(journal.lines(), IsEmpty());
    journal.append("one", true).value();
    journal.append("two", false).value();
    EXPECT_EQ(Journal::open(path).error().code, ErrorCode::kNotPermitted);
    EXPECT_EQ(Journal::read(path).error().code, ErrorCode::kNotPermitted);
  }
  EXPECT_THAT(Journal::read(path).value(), ElementsAre("one", "two"));
  auto journal = Journal::open(path).value();
  EXPECT_THAT(journal.lines(), ElementsAre("one", "two"));
  journal.clear().value();
  journal.append("three", true).value();
  EXPECT_THAT(journal.lines(), IsEmpty());
  journal.remove().value();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(PackJournal, WhatWasHalfWrittenOrDamagedCountsForNothing) {
  const ScratchDir scratch;
  const std::string path = scratch / "j";
  const std::vector<std::string> lines{"first", "second line", "{\"third\":3}"};
  {
    auto journal = Journal::open(path).value();
    for (const auto& line : lines) journal.append(line, false).value();
  }
  const std::string whole = read_file(path);
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (whole[i] == '\n') ends.push_back(i + 1);
  }
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    write_file(path, whole.substr(0, cut));
    const auto good = static_cast<std::size_t>(
        std::count_if(ends.begin(), ends.end(), [&](std::size_t end) { return end <= cut; }));
    auto journal = Journal::open(path).value();
    ASSERT_EQ(
        journal.lines(),
        std::vector<std::string>(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(good)));
    journal.append("next", false).value();
    EXPECT_EQ(Journal::read(path).error().code, ErrorCode::kNotPermitted);
    journal = Journal::open(scratch / "other").value();  // lets go of the first
    EXPECT_EQ(Journal::read(path).value().size(), good + 1);
  }
  std::mt19937_64 random(test_seed());
  for (std::uint64_t round = 0; round < rounds(400); ++round) {
    std::string damaged = whole;
    const std::size_t at = random() % damaged.size();
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    write_file(path, damaged);
    const auto read = Journal::read(path).value();
    ASSERT_LT(read.size(), lines.size());
    EXPECT_TRUE(std::equal(read.begin(), read.end(), lines.begin()));
  }
}

TEST(PackFolder, KnowsItsNames) {
  EXPECT_EQ(journal_name({}), ".shardreel-pack.journal");
  EXPECT_EQ(journal_name(TaskName{3, 16}), ".shardreel-pack-0003-of-0016.journal");
  const auto task = task_of_journal(journal_name(TaskName{12345, 123456}));
  ASSERT_TRUE(task);
  EXPECT_EQ(task->index, 12345U);
  EXPECT_EQ(task->count, 123456U);
  for (const char* other : {".shardreel-pack.journal", ".shardreel-pack-0003-of-0003.journal",
                            ".shardreel-pack-03-of-0016.journal", "x", ""}) {
    EXPECT_FALSE(task_of_journal(other)) << other;
  }
  EXPECT_TRUE(is_shard_name("train-000001.tar", "train-"));
  EXPECT_TRUE(is_shard_name("train-1000000.tar", "train-"));
  for (const char* other : {"train-00001.tar", "train-000001.tar.gz", "train-x00001.tar",
                            "train-0000-000001.tar", "val-000001.tar", "train-.tar"}) {
    EXPECT_FALSE(is_shard_name(other, "train-")) << other;
  }
}

}  // namespace
}  // namespace shardreel::tools
