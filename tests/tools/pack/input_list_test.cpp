#include "tools/pack/input_list.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shardreel::tools {
namespace {

using ::testing::HasSubstr;

std::string text_of(const std::vector<ListedVideo>& videos) {
  std::string text;
  for (const ListedVideo& video : videos) text += video.path + " " + video.columns + "\n";
  return text;
}

TEST(InputList, ReadsLists) {
  EXPECT_EQ(text_of(parse_path_list("a.mp4\n\nb c.mp4\r\n/d.mp4")), "a.mp4 \nb c.mp4 \n/d.mp4 \n");
  EXPECT_TRUE(parse_path_list("").empty());
}

TEST(InputList, ReadsJsonLines) {
  auto videos = parse_jsonl(
      "\xef\xbb\xbf{\"label\": 3, \"path\": \"a.mp4\", \"tags\": [\"x\", null]}\n\n"
      "{\"path\": \"b.mp4\"}\r\n",
      "m");
  EXPECT_EQ(text_of(videos.value()), "a.mp4 {\"label\":3,\"tags\":[\"x\",null]}\nb.mp4 \n");
  for (const char* bad :
       {"{}", "[]", "{\"path\": 3}", "{\"path\": \"\"}", "{\"path\": \"a\"", "x"}) {
    const auto refused = parse_jsonl(std::string("{\"path\":\"a\"}\n") + bad, "m.jsonl");
    ASSERT_FALSE(refused) << bad;
    EXPECT_THAT(refused.error().message, HasSubstr("'m.jsonl', line 2")) << bad;
  }
  EXPECT_FALSE(parse_jsonl("{\"path\":\"a\",\"x\":" + std::string(100'000, '['), "m"));
  EXPECT_FALSE(parse_jsonl(
      "{\"path\":\"a\",\"x\":" + std::string(100, '[') + std::string(100, ']') + "}", "m"));
}

TEST(InputList, ReadsCsv) {
  auto videos = parse_csv(
      "label,path,\"the \"\"note\"\"\"\r\n7,a.mp4,\"one, \ntwo\"\r\n007,\"b \"\"c\"\".mp4\",true\n"
      "1.5,c.mp4,\n",
      "m");
  EXPECT_EQ(text_of(videos.value()),
            "a.mp4 {\"label\":7,\"the \\\"note\\\"\":\"one, \\ntwo\"}\n"
            "b \"c\".mp4 {\"label\":\"007\",\"the \\\"note\\\"\":true}\n"
            "c.mp4 {\"label\":1.5,\"the \\\"note\\\"\":\"\"}\n");
  EXPECT_EQ(text_of(parse_csv("path\na.mp4\n", "m").value()), "a.mp4 \n");
  for (const char* bad : {"", "a,b\n1,2\n", "path,path\na,b\n", "path,x\na\n", "path,x\na,b,c\n",
                          "path,x\n,b\n", "path\n\"a", "path\n\"a\"b\n"}) {
    EXPECT_FALSE(parse_csv(bad, "m")) << bad;
  }
  EXPECT_THAT(parse_csv("path,x\n\"a\nb\",1\nc\n", "m").error().message, HasSubstr("line 4"));
}

// Text in another encoding is not made into other text.
TEST(InputList, CellsThatAreNotUtf8AreRefusedWithTheirPlace) {
  const auto refused = parse_csv("path,caption\na.mp4,fine\nb.mp4,caf\xe9\n", "m.csv");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("'m.csv', line 3"));
  EXPECT_THAT(refused.error().message, HasSubstr("column 'caption' is not UTF-8"));
  const auto name = parse_csv("path,caf\xe9\na.mp4,1\n", "m.csv");
  ASSERT_FALSE(name);
  EXPECT_THAT(name.error().message, HasSubstr("column 2"));
  // Paths are bytes, and every column of UTF-8 stays as it is.
  EXPECT_EQ(text_of(parse_csv("path,x\ncaf\xe9.mp4,caf\xc3\xa9\n", "m").value()),
            "caf\xe9.mp4 {\"x\":\"caf\xc3\xa9\"}\n");
}

TEST(InputList, MergesColumnsIntoTheSidecar) {
  EXPECT_EQ(merge_columns("", R"({"b":1})").value(), R"({"b":1})");
  EXPECT_EQ(merge_columns(R"({"b": 0, "a": [1]})", R"({"c":2,"b":1})").value(),
            R"({"b":1,"a":[1],"c":2})");
  EXPECT_FALSE(merge_columns("[1]", R"({"b":1})"));
  EXPECT_FALSE(merge_columns(" ", R"({"b":1})"));
}

}  // namespace
}  // namespace shardreel::tools
