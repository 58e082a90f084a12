// shardreel against the conformance vectors, in strict and in compat.
#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>

#include "shardreel/shard_url.h"
#include "shards/sample_grouper.h"
#include "tests/conformance/materialise.h"
#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using nlohmann::json;

std::vector<SampleText> samples_of(const json& list) {
  std::vector<SampleText> samples;
  for (const auto& sample : list) {
    SampleText text{materialise(sample.at("key")), {}};
    for (const auto& field : sample.at("fields")) {
      text.fields.emplace_back(materialise(field.at(0)), materialise(field.at(1)));
    }
    samples.push_back(std::move(text));
  }
  return samples;
}

/// What strict has to deliver: all samples, those listed by number, or a list of its own.
std::vector<SampleText> strict_samples(const json& vector) {
  const auto all = samples_of(vector.at("samples"));
  const json strict = vector.value("strict", json::object());
  if (strict.contains("samples")) return samples_of(strict.at("samples"));
  if (!strict.contains("delivers")) return all;
  std::vector<SampleText> some;
  for (const auto& number : strict.at("delivers")) some.push_back(all.at(number));
  return some;
}

std::string describe_failures(const ShardContent& content) {
  std::string text;
  for (const auto& failed : content.failures) text += "\n  " + failed.error.describe();
  return text;
}

/// As a file and as a stream in small pieces: the paths through the reader differ.
std::vector<ShardContent> read_both(const std::string& bytes, const ShardReaderOptions& options) {
  const ScratchDir scratch;
  write_file(scratch / "vector.tar", bytes);
  return {read_path(scratch / "vector.tar", options), read_stream(bytes, options)};
}

TEST(Conformance, CompatGivesWhatTheReferenceGives) {
  std::uint64_t vectors = 0;
  for (const json& vector : load_vectors("archives")) {
    const auto what = vector.at("file").get<std::string>() + ": " + vector.at("name").dump();
    const auto wanted = samples_of(vector.at("samples"));
    for (const auto& content : read_both(materialise(vector.at("archive")), compat())) {
      EXPECT_EQ(content.samples, wanted) << what << describe_failures(content);
      EXPECT_EQ(!content.failures.empty(), vector.value("raises", false))
          << what << describe_failures(content);
    }
    ++vectors;
  }
  EXPECT_GT(vectors, 150U);
}

TEST(Conformance, StrictReportsWhatIsLost) {
  for (const json& vector : load_vectors("archives")) {
    const auto what = vector.at("file").get<std::string>() + ": " + vector.at("name").dump();
    const auto wanted = strict_samples(vector);
    const json wanted_errors =
        vector.value("strict", json::object()).value("errors", json::array());
    for (const auto& content : read_both(materialise(vector.at("archive")), {})) {
      EXPECT_EQ(content.samples, wanted) << what << describe_failures(content);
      json errors = json::array();
      for (const auto& failed : content.failures) errors.push_back(to_string(failed.error.code));
      EXPECT_EQ(errors, wanted_errors) << what << describe_failures(content);
    }
  }
}

TEST(Conformance, NamesSplitAsInTheReference) {
  std::uint64_t vectors = 0;
  for (const json& vector : load_vectors("names")) {
    const std::string name = materialise(vector.at("name"));
    const auto split = split_member_name(name);
    ASSERT_EQ(split.has_value(), vector.contains("key")) << name;
    ++vectors;
    if (!split) continue;
    EXPECT_EQ(split->key, materialise(vector.at("key"))) << name;
    EXPECT_EQ(lower_field(split->field), materialise(vector.at("field"))) << name;
  }
  EXPECT_GT(vectors, 40U);
}

TEST(Conformance, UrlsExpandAsInTheReference) {
  std::uint64_t vectors = 0;
  for (const json& vector : load_vectors("urls")) {
    const std::string spec = vector.at("spec");
    const json environment = vector.value("environment", json::object());
    for (const auto& [name, value] : environment.items()) {
      setenv(name.c_str(), value.get<std::string>().c_str(), 1);
    }
    const auto list = ShardList::parse({spec});
    for (const auto& [name, value] : environment.items()) unsetenv(name.c_str());
    ++vectors;
    ASSERT_EQ(list.has_value(), !vector.value("error", false)) << spec;
    if (!list) continue;
    std::vector<std::string> urls;
    for (std::uint64_t i = 0; i < list->size(); ++i) urls.push_back(list->at(i));
    EXPECT_EQ(urls, vector.at("urls").get<std::vector<std::string>>()) << spec;
  }
  EXPECT_GT(vectors, 40U);
}

}  // namespace
}  // namespace shardreel::testing
