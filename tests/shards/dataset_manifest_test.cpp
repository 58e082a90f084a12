#include "shards/dataset_manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

DatasetManifest example() {
  DatasetManifest manifest;
  manifest.tool = "shardreel 0.1.0";
  manifest.options = R"({"shard_bytes":1000,"splits":{"train":0.9}})";
  manifest.refused = 3;
  manifest.codecs = {{"h264", 4}, {"vp9", 1}};
  manifest.sizes = {{"640x360", 5}};
  manifest.fields = {{"json", 2}, {"mp4", 4}, {"webm", 1}};
  manifest.shards = {
      {"train-000000.tar", "train", std::string(64, 'a'), {3, 20480, 9000, 90, 3.25}},
      {"sub/val-000000.tar", "val", std::string(64, '0'), {2, 10240, 700, 10, 0.1}}};
  manifest.counts = {5, 30720, 9700, 100, 3.35};
  return manifest;
}

std::string problem(const json& manifest) {
  const auto read = parse_dataset_manifest(manifest.dump());
  if (read) return {};
  EXPECT_EQ(read.error().code, ErrorCode::kCorruptArchive);
  return read.error().message;
}

TEST(DatasetManifest, ReadsBackWhatItWrote) {
  const DatasetManifest manifest = example();
  const std::string text = to_json(manifest);
  EXPECT_EQ(parse_dataset_manifest(text).value(), manifest);
  const json other = json::parse(text);  // by another reader
  EXPECT_EQ(other["shards"][1]["name"], "sub/val-000000.tar");
  EXPECT_EQ(other["options"]["splits"]["train"], 0.9);
  EXPECT_EQ(other["frames"], 100);
  DatasetManifest unknown = example();
  unknown.shards[1].counts.frames.reset();
  unknown.counts.frames.reset();
  unknown.shards[1].split.clear();
  EXPECT_EQ(parse_dataset_manifest(to_json(unknown)).value(), unknown);
  DatasetManifest empty;
  empty.options = "{}";
  empty.counts.frames = 0;
  empty.counts.seconds = 0;
  EXPECT_EQ(parse_dataset_manifest(to_json(empty)).value(), empty);
}

TEST(DatasetManifest, PassesOverWhatItDoesNotKnow) {
  json later = json::parse(to_json(example()));
  later["colour"] = "blue";
  later["shards"][0]["weight"] = 3;
  EXPECT_EQ(parse_dataset_manifest(later.dump()).value(), example());
}

TEST(DatasetManifest, RefusesWhatIsNoManifest) {
  const json good = json::parse(to_json(example()));
  ASSERT_EQ(problem(good), "");
  const auto changed = [&](const char* pointer, const json& value) {
    json bad = good;
    bad[json::json_pointer(pointer)] = value;
    return problem(bad);
  };
  EXPECT_THAT(changed("/format", "other"), HasSubstr("shardreel-dataset"));
  EXPECT_THAT(changed("/version", 2), HasSubstr("version 2"));
  EXPECT_THAT(changed("/samples", 6), HasSubstr("totals"));
  EXPECT_THAT(changed("/frames", 99), HasSubstr("totals"));
  EXPECT_THAT(changed("/seconds", 3.36), HasSubstr("totals"));
  EXPECT_THAT(changed("/samples", -5), HasSubstr("whole number"));
  EXPECT_THAT(changed("/seconds", "3"), HasSubstr("seconds"));
  EXPECT_THAT(changed("/codecs/h264", 1.5), HasSubstr("h264"));
  EXPECT_THAT(changed("/shards/0/sha256", "abc"), HasSubstr("sha256"));
  EXPECT_THAT(changed("/shards/0/name", "sub/val-000000.tar"), HasSubstr("twice"));
  EXPECT_THAT(changed("/shards/0/bytes", 18446744073709551615ULL), HasSubstr("totals"));
  for (const char* name : {"", "/etc/passwd", "../up.tar", "a/../b", "a//b", "./a", "a/"}) {
    EXPECT_THAT(changed("/shards/0/name", name), HasSubstr("below this folder")) << name;
  }
  EXPECT_THAT(changed("/shards/0/name", std::string("a\0b", 3)), HasSubstr("below this folder"));
  for (const auto& [name, value] : good.items()) {
    json bad = good;
    bad.erase(name);
    EXPECT_NE(problem(bad), "") << name << " was missing";
  }
  EXPECT_THAT(problem(json::array()), HasSubstr("object"));
  EXPECT_FALSE(parse_dataset_manifest("{"));
  EXPECT_FALSE(parse_dataset_manifest(""));
  EXPECT_THAT(parse_dataset_manifest(std::string(5'000'000, '[')).error().message,
              HasSubstr("deep"));
}

TEST(DatasetManifest, ReadsFiles) {
  const ScratchDir scratch;
  write_file(scratch / "dataset.json", to_json(example()));
  EXPECT_EQ(read_dataset_manifest(scratch / "dataset.json").value(), example());
  EXPECT_EQ(read_dataset_manifest(scratch / "none").error().code, ErrorCode::kNotFound);
  write_file(scratch / "bad.json", "[]");
  EXPECT_THAT(read_dataset_manifest(scratch / "bad.json").error().message, HasSubstr("bad.json"));
}

}  // namespace
}  // namespace shardreel::testing
