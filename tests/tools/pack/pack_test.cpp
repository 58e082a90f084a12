#include "tools/commands/pack.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>

#include "shards/unique_fd.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct Run {
  int status = 0;
  std::string output;
  nlohmann::json report;
};

/// Run the command with its standard output in a file.
Run pack(const ScratchDir& scratch, tools::PackOptions options) {
  std::fflush(stdout);
  const UniqueFd before(dup(1));
  const UniqueFd file(open((scratch / "stdout").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600));
  dup2(file.get(), 1);
  Run run;
  run.status = tools::run_pack(options);
  std::fflush(stdout);
  dup2(before.get(), 1);
  run.output = read_file(scratch / "stdout");
  if (options.json) run.report = nlohmann::json::parse(run.output, nullptr, false);
  return run;
}

tools::PackOptions packing(const std::vector<std::string>& inputs, const std::string& out) {
  tools::PackOptions options;
  options.inputs = inputs;
  options.out = out;
  options.json = true;
  options.prepare.check = tools::CheckLevel::kNone;  // these are no videos
  return options;
}

std::vector<SampleText> samples_in(const Run& run) {
  std::vector<SampleText> all;
  for (const auto& shard : run.report["shards"]) {
    const auto content = read_path(shard["path"]);
    EXPECT_THAT(content.failures, IsEmpty());
    for (const auto& sample : content.samples) all.push_back(sample);
  }
  return all;
}

TEST(Pack, PutsVideosWithTheirSidecarsIntoShards) {
  const ScratchDir scratch;
  std::filesystem::create_directories(scratch / "in/b/c.d");
  write_file(scratch / "in/one.MP4", "video 1");
  write_file(scratch / "in/one.json", "{}");
  write_file(scratch / "in/one.seg.png", "png");
  write_file(scratch / "in/one.v2.mkv", "video 2");
  write_file(scratch / "in/one.v2.txt", "");
  write_file(scratch / "in/readme.md", "no video's");
  write_file(scratch / "in/.hidden.mp4", "video 5");
  write_file(scratch / "in/b/two.webm", "video 3");
  write_file(scratch / "in/b/c.d/two.webm", "video 4");
  auto options = packing({scratch / "in/"}, scratch / "out");
  options.limits.samples = 3;
  const auto run = pack(scratch, options);
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(samples_in(run),
              ::testing::UnorderedElementsAre(
                  SampleText{"_hidden", {{"mp4", "video 5"}}},
                  SampleText{"one", {{"json", "{}"}, {"mp4", "video 1"}, {"seg.png", "png"}}},
                  SampleText{"one_v2", {{"mkv", "video 2"}, {"txt", ""}}},
                  SampleText{"b/two", {{"webm", "video 3"}}},
                  SampleText{"b/c.d/two", {{"webm", "video 4"}}}));
  EXPECT_EQ(run.report["samples"], 5);
  EXPECT_EQ(run.report["shards"].size(), 2U);
  EXPECT_EQ(run.report["ignored_files"], 1);
  EXPECT_THAT(run.report["refused"], IsEmpty());
  const std::string first = read_file(scratch / "out/shard-000000.tar");
  EXPECT_EQ(pack(scratch, options).status, 1) << "existing shards are left alone";
  options.overwrite = true;
  EXPECT_EQ(pack(scratch, options).status, 0);
  EXPECT_EQ(read_file(scratch / "out/shard-000000.tar"), first) << "not deterministic";
}

TEST(Pack, TakesSingleFiles) {
  const ScratchDir scratch;
  write_file(scratch / "a.mp4", "1");
  write_file(scratch / "a.json", "{}");
  write_file(scratch / "a.x.mp4", "2");
  write_file(scratch / "a.x.json", "[]");
  const auto run = pack(scratch, packing({scratch / "a.mp4", scratch / "a.json"}, scratch / "out"));
  EXPECT_EQ(run.status, 0);
  EXPECT_THAT(samples_in(run), ElementsAre(SampleText{"a", {{"json", "{}"}, {"mp4", "1"}}}));
  EXPECT_EQ(run.report["refused"][0]["path"], scratch / "a.json");
}

TEST(Pack, ListsWhatItRefuses) {
  const ScratchDir scratch;
  std::filesystem::create_directories(scratch / "in/__x__");
  write_file(scratch / "in/good.mp4", "1");
  write_file(scratch / "in/empty.mp4", "");
  write_file(scratch / "in/twice.mp4", "1");
  write_file(scratch / "in/twice.mov", "2");
  write_file(scratch / "in/a.b.mp4", "1");
  write_file(scratch / "in/a_b.mp4", "2");
  write_file(scratch / "in/__x__/meta.mp4", "2");
  std::filesystem::create_symlink("nowhere", scratch / "in/dangling.mp4");
  const auto run = pack(scratch, packing({scratch / "in"}, scratch / "out"));
  EXPECT_EQ(run.status, 0);
  EXPECT_EQ(run.report["samples"], 3);
  std::map<std::string, std::string> refused;
  for (const auto& one : run.report["refused"]) {
    refused[std::filesystem::path(std::string(one["path"])).filename()] = one["reason"];
  }
  EXPECT_EQ(refused.size(), 5U) << run.output;
  EXPECT_THAT(refused["empty.mp4"], HasSubstr("0 bytes"));
  EXPECT_THAT(refused["twice.mp4"], HasSubstr("twice.mov"));
  EXPECT_THAT(refused["a_b.mp4"], HasSubstr("'a_b' is taken"));
  EXPECT_THAT(refused["meta.mp4"], HasSubstr("metadata"));
  EXPECT_THAT(refused["dangling.mp4"], HasSubstr("No such file"));
}

TEST(Pack, FailsWhenThereIsNothingToPack) {
  const ScratchDir scratch;
  std::filesystem::create_directories(scratch / "in");
  EXPECT_EQ(pack(scratch, packing({scratch / "in"}, scratch / "out")).status, 1);
  EXPECT_EQ(pack(scratch, packing({scratch / "none"}, scratch / "out")).status, 1);
  EXPECT_EQ(pack(scratch, packing({}, scratch / "out")).status, 2);
  EXPECT_EQ(pack(scratch, packing({scratch / "in"}, "")).status, 2);
  auto options = packing({scratch / "in"}, scratch / "out");
  options.prefix = "a/b";
  EXPECT_EQ(pack(scratch, options).status, 2);
  write_file(scratch / "in/a.mp4", "1");
  options = packing({scratch / "in"}, scratch / "out");
  options.json = false;
  EXPECT_THAT(pack(scratch, options).output, HasSubstr("packed 1 samples (1 B) into 1 shards"));
}

}  // namespace
}  // namespace shardreel::testing
