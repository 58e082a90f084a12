#include "shardreel/shard_url.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

using Strings = std::vector<std::string>;

Strings expand(const Strings& specs) {
  auto list = ShardList::parse(specs);
  EXPECT_TRUE(list) << list.error().describe();
  Strings urls;
  for (std::uint64_t i = 0; list && i < list->size(); ++i) urls.push_back(list->at(i));
  return urls;
}

Strings expand(const std::string& spec) { return expand(Strings{spec}); }

std::string refusal(const std::string& spec) {
  auto list = ShardList::parse({spec});
  EXPECT_FALSE(list) << spec;
  return list ? "" : list.error().message;
}

TEST(ShardUrl, FollowsTheVectorsOfTheReference) {
  EXPECT_EQ(expand("{000..003}"), (Strings{"000", "001", "002", "003"}));
  EXPECT_EQ(expand("{000..1}"), (Strings{"000", "001"}));
  EXPECT_EQ(expand("{01..100..50}"), (Strings{"001", "051"}));
  EXPECT_EQ(expand("{0..10..5}"), (Strings{"0", "5", "10"}));
  EXPECT_EQ(expand("{03..00}"), (Strings{"03", "02", "01", "00"}));
  EXPECT_EQ(expand("{a..c}"), (Strings{"a", "b", "c"}));
  EXPECT_EQ(expand("{Y..b}"), (Strings{"Y", "Z", "a", "b"}));
  EXPECT_EQ(expand("{c..a..2}"), (Strings{"c", "a"}));
  EXPECT_EQ(expand("{-1..1}"), (Strings{"-1", "0", "1"}));
  EXPECT_EQ(expand("{-01..1}"), (Strings{"-01", "000", "001"}));
  EXPECT_EQ(expand("{3..1..-2}"), (Strings{"3", "1"}));
  EXPECT_EQ(expand("{1..3..0}"), (Strings{"1", "2", "3"}));
  EXPECT_EQ(expand("{a,b}{1,2}"), (Strings{"a1", "a2", "b1", "b2"}));
  EXPECT_EQ(expand("x{,y}z"), (Strings{"xz", "xyz"}));
  EXPECT_EQ(expand("a{b}c"), (Strings{"a{b}c"}));
  EXPECT_EQ(expand("a{}c"), (Strings{"a{}c"}));
  EXPECT_EQ(expand("{{a,b}}"), (Strings{"{a}", "{b}"}));
  EXPECT_EQ(expand("{a,{1..3},c{x,y}}"), (Strings{"a", "1", "2", "3", "cx", "cy"}));
  EXPECT_EQ(expand("a\\{1,2\\}"), (Strings{"a{1,2}"}));
  EXPECT_EQ(expand("{a\\,b,c}"), (Strings{"a,b", "c"}));
  EXPECT_EQ(expand("{1..a}"), (Strings{"{1..a}"}));
  EXPECT_EQ(expand("{1..2..3..4}"), (Strings{"{1..2..3..4}"}));
  EXPECT_EQ(expand("pipe:cat {a,b}.tar | head"),
            (Strings{"pipe:cat a.tar | head", "pipe:cat b.tar | head"}));
  EXPECT_EQ(expand("a-{0..1}.tar::b.tar"), (Strings{"a-0.tar", "a-1.tar", "b.tar"}));
  EXPECT_EQ(expand(Strings{"x", "{y,z}"}), (Strings{"x", "y", "z"}));
  EXPECT_EQ(expand(Strings{}), Strings{});
}

TEST(ShardUrl, RefusesWhatHasNoMeaning) {
  EXPECT_NE(refusal("a{b").find("without its '}'"), std::string::npos);
  EXPECT_NE(refusal("a}b").find("without its '{'"), std::string::npos);
  EXPECT_NE(refusal("}{").find("without its '{'"), std::string::npos);
  EXPECT_NE(refusal("{1..99999999999999999999}").find("64-bit"), std::string::npos);
  EXPECT_NE(refusal("{0..4294967295}{0..4294967295}{0,1}").find("2^64"), std::string::npos);
  EXPECT_NE(refusal("{0..18446744073709551615}").find("64-bit"), std::string::npos);
  EXPECT_NE(refusal(std::string(5000, '{') + std::string(5000, '}')).find("deep"),
            std::string::npos);
  EXPECT_NE(refusal("a::::b").find("empty"), std::string::npos);
  EXPECT_NE(refusal("@/nonexistent/list").find("/nonexistent/list"), std::string::npos);
  EXPECT_FALSE(ShardList::parse({"{-9223372036854775808..9223372036854775807}"}));
}

TEST(ShardUrl, ReplacesVariablesFromTheEnvironment) {
  setenv("WDS_SHARDREEL_A", "/data/${SHARDREEL_B}", 1);
  setenv("WDS_SHARDREEL_B", "x{1,2}", 1);
  EXPECT_EQ(expand("${SHARDREEL_A}.tar"), (Strings{"/data/x1.tar", "/data/x2.tar"}));
  EXPECT_EQ(expand("$x"), (Strings{"$x"}));
  EXPECT_NE(refusal("${SHARDREEL_NOT_THERE}").find("WDS_SHARDREEL_NOT_THERE"), std::string::npos);
  setenv("WDS_SHARDREEL_LOOP", "${SHARDREEL_LOOP}", 1);
  EXPECT_NE(refusal("${SHARDREEL_LOOP}").find("nested"), std::string::npos);
}

TEST(ShardUrl, ReadsListsVerbatim) {
  const ScratchDir scratch;
  write_file(scratch / "list", "# shards\na{1,2}.tar\r\n\npipe:cat x::y\n#b\nlast");
  EXPECT_EQ(expand("@" + (scratch / "list")), (Strings{"a{1,2}.tar", "pipe:cat x::y", "last"}));
  EXPECT_NE(refusal("@" + scratch.path().string()).find("a directory"), std::string::npos);
}

TEST(ShardUrl, NamesShardsWithoutWritingThemOut) {
  auto list = ShardList::parse({"s3-{000000000..999999999}-{a..z}.tar", "z"});
  ASSERT_TRUE(list);
  EXPECT_EQ(list->size(), 26'000'000'001U);
  EXPECT_EQ(list->at(0), "s3-000000000-a.tar");
  EXPECT_EQ(list->at(27), "s3-000000001-b.tar");
  EXPECT_EQ(list->at(25'999'999'999U), "s3-999999999-z.tar");
  EXPECT_EQ(list->at(26'000'000'000U), "z");
  auto whole = ShardList::parse({"{-9223372036854775808..9223372036854775806}"});
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->at(0), "-9223372036854775808");
  EXPECT_EQ(whole->at(whole->size() - 1), "9223372036854775806");
}

// bash agrees on these forms: no letters across cases, no escapes, no lone braces, no mixed
// padding.
TEST(ShardUrl, AgreesWithBashOnRandomPatterns) {
  std::uint64_t state = test_seed() * 0x9E3779B97F4A7C15U;
  const auto pick = [&state](std::uint64_t n) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    return (state >> 33) % n;
  };
  std::string script;
  Strings patterns;
  const std::function<std::string(int)> make = [&](int depth) {
    std::string pattern;
    const auto parts = 1 + pick(3);
    for (std::uint64_t i = 0; i < parts; ++i) {
      switch (depth > 2 ? pick(3) : pick(5)) {
        case 0: pattern += std::string(1, static_cast<char>('a' + pick(26))); break;
        case 1:
          pattern += "{" + std::to_string(pick(20)) + ".." + std::to_string(pick(20)) +
                     (pick(2) ? ".." + std::to_string(1 + pick(5)) : "") + "}";
          break;
        case 2:
          pattern += "{0" + std::to_string(pick(9)) + ".." + std::to_string(pick(200)) + "..40}";
          break;
        case 3: pattern += "{" + make(depth + 1) + "," + make(depth + 1) + "}"; break;
        default: pattern += "{," + make(depth + 1) + "," + make(depth + 1) + "}"; break;
      }
    }
    return pattern;
  };
  const auto count = rounds(2000);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string pattern = "x" + make(1);
    auto list = ShardList::parse({pattern});
    ASSERT_TRUE(list) << pattern;
    if (list->size() > 2000) continue;
    patterns.push_back(pattern);
    script += "printf '%s\\n' " + pattern + "; echo =\n";
  }
  const ScratchDir scratch;
  write_file(scratch / "script", script);
  const std::string output = run_command("bash " + (scratch / "script"));
  std::string ours;
  for (const auto& pattern : patterns) {
    for (const auto& url : expand(pattern)) ours += url + "\n";
    ours += "=\n";
  }
  EXPECT_EQ(ours, output);
}

}  // namespace
}  // namespace shardreel::testing
