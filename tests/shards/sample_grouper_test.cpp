#include "shards/sample_grouper.h"

#include <gtest/gtest.h>

#include <regex>

#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

std::string split(const std::string& name) {
  const auto parts = split_member_name(name);
  return parts ? std::string(parts->key) + "|" + std::string(parts->field) : "-";
}

TEST(SplitMemberName, FollowsTheVectorsOfTheReference) {
  EXPECT_EQ(split("a.seg.jpg"), "a|seg.jpg");
  EXPECT_EQ(split("dir.v1/c.rgb.mp4"), "dir.v1/c|rgb.mp4");
  EXPECT_EQ(split("foo."), "foo|");
  EXPECT_EQ(split("foo..jpg"), "foo|.jpg");
  EXPECT_EQ(split("a.b/c"), "-");
  EXPECT_EQ(split("noext"), "-");
  EXPECT_EQ(split(".hidden"), "-");
  EXPECT_EQ(split("./.x"), "-");
  EXPECT_EQ(split("./._foo.mp4"), "-");
  EXPECT_EQ(split("dir/.hidden"), "dir/|hidden");
  EXPECT_EQ(split("dir/._foo.mp4"), "dir/|_foo.mp4");
  EXPECT_EQ(split("a/b/.c"), "a/b/|c");
  EXPECT_EQ(split("./a.x"), "./a|x");
  EXPECT_EQ(split("/a.x"), "/a|x");
  EXPECT_EQ(split("../a.x"), "../a|x");
  EXPECT_EQ(split("a//b.x"), "a//b|x");
  EXPECT_EQ(split(""), "-");
  EXPECT_EQ(split("a.x\n"), "a|x\n");
}

// std::regex (ECMAScript, with the reference's `.` that stops at a newline) is the oracle.
TEST(SplitMemberName, AgreesWithTheRegularExpression) {
  const std::regex expression("^((?:.*/|)[^.]+)[.]([^/]*)$");
  std::uint64_t state = test_seed() * 0x9E3779B97F4A7C15U;
  for (std::uint64_t round = rounds(200000); round > 0; --round) {
    std::string name;
    for (std::uint64_t length = (state >> 40) % 12; length > 0; --length) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      name += "ab./._/"[(state >> 33) % 7];
    }
    state = state * 6364136223846793005U + 1442695040888963407U;
    std::smatch match;
    const bool matches = std::regex_match(name, match, expression);
    ASSERT_EQ(split(name), matches ? match.str(1) + "|" + match.str(2) : "-") << name;
  }
}

TEST(IsMetadataName, FollowsTheReference) {
  EXPECT_TRUE(is_metadata_name("__meta__"));
  EXPECT_TRUE(is_metadata_name("__x__/a.jpg"));
  EXPECT_TRUE(is_metadata_name("__x__/"));
  EXPECT_TRUE(is_metadata_name("__a.b__"));
  EXPECT_TRUE(is_metadata_name("__a__\n"));
  EXPECT_FALSE(is_metadata_name("__x__.json"));
  EXPECT_FALSE(is_metadata_name("sub/__x__/a.jpg"));
  EXPECT_FALSE(is_metadata_name("__x/a.jpg"));
  EXPECT_FALSE(is_metadata_name("___/a.jpg"));
}

TEST(LowerField, LowersLettersAndKeepsTheRest) {
  EXPECT_EQ(lower_field("MP4.Seg"), "mp4.seg");
  EXPECT_EQ(lower_field("ÄÖÜß×"), "äöüß×");
  EXPECT_EQ(lower_field("ĀŽŸŃ"), "āžÿń");
  EXPECT_EQ(lower_field("ΑΩΆΈΏ"), "αωάέώ");
  EXPECT_EQ(lower_field("ЖЁЯҐӀ"), "жёяґӏ");
  EXPECT_EQ(lower_field("\xC3"), "\xC3");
  EXPECT_EQ(lower_field("\xC3\x28\xFF"), "\xC3\x28\xFF");
  EXPECT_EQ(lower_field("日本"), "日本");
}

TEST(IsReservedField, NamesTheThree) {
  EXPECT_TRUE(is_reserved_field("__key__"));
  EXPECT_TRUE(is_reserved_field("__url__"));
  EXPECT_TRUE(is_reserved_field("__local_path__"));
  EXPECT_FALSE(is_reserved_field("__bad__"));
}

}  // namespace
}  // namespace shardreel::testing
