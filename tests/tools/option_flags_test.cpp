#include "tools/commands/option_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace shardreel::tools {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Parse as the program does.
Result<LoaderOptions> parse(std::vector<std::string> arguments) {
  CLI::App app;
  OptionFlags flags;
  add_option_flags(app, flags);
  std::reverse(arguments.begin(), arguments.end());  // the library takes them from the back
  app.parse(arguments);
  return read_options(flags);
}

TEST(OptionFlagsTest, EveryOptionHasItsFlag) {
  CLI::App app;
  OptionFlags flags;
  add_option_flags(app, flags);
  for (const OptionInfo& info : option_table()) {
    std::string flag = info.name;
    std::replace(flag.begin(), flag.end(), '_', '-');
    EXPECT_NE(app.get_option_no_throw(info.name == "urls" ? flag : "--" + flag), nullptr) << flag;
  }
}

TEST(OptionFlagsTest, FlagsAndShardsAreRead) {
  const auto options =
      parse({"a.tar", "--num-frames", "8", "b-{0..3}.tar", "--mean", "-0.5,0,0.5", "--dtype",
             "float32", "--allow-pipe", "false", "--filter", "cls=1", "--filter", "key=a,b", "-"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_THAT(options->input.urls, ElementsAre("a.tar", "b-{0..3}.tar", "-"));
  EXPECT_EQ(options->window.num_frames, 8U);
  EXPECT_THAT(options->transform.mean, ElementsAre(-0.5, 0, 0.5));
  EXPECT_EQ(options->transform.dtype, DType::kFloat32);
  EXPECT_FALSE(options->input.allow_pipe);
  EXPECT_THAT(options->input.filter, ElementsAre("cls=1", "key=a,b"));
}

TEST(OptionFlagsTest, FlagsWinOverTheFile) {
  const testing::ScratchDir folder;
  std::ofstream(folder / "o.json")
      << R"({"urls": ["file.tar"], "num_frames": 4, "width": 64, "filter": ["cls=9"]})";
  const auto options = parse({"--num-frames", "8", "--config", folder / "o.json"});
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_THAT(options->input.urls, ElementsAre("file.tar"));
  EXPECT_EQ(options->window.num_frames, 8U);
  EXPECT_EQ(options->transform.width, 64U);
  const auto replaced = parse({"x.tar", "--filter", "cls=1", "--config", folder / "o.json"});
  ASSERT_TRUE(replaced);
  EXPECT_THAT(replaced->input.urls, ElementsAre("x.tar"));
  EXPECT_THAT(replaced->input.filter, ElementsAre("cls=1"));
}

TEST(OptionFlagsTest, EveryWrongValueIsReported) {
  const auto options = parse({"a.tar", "--num-frames", "many", "--crop", "left"});
  ASSERT_FALSE(options);
  EXPECT_THAT(options.error().message, AllOf(HasSubstr("num_frames takes"), HasSubstr("\"many\""),
                                             HasSubstr("center, random, resized")));
}

TEST(OptionFlagsTest, FilesThatCannotBeReadAreNamed) {
  const testing::ScratchDir folder;
  EXPECT_THAT(parse({"--config", folder / "none.json"}).error().message,
              AllOf(HasSubstr("none.json"), HasSubstr("No such file")));
  EXPECT_FALSE(parse({"--config", folder.path().string()}));
  std::ofstream(folder / "empty.json").flush();
  EXPECT_THAT(parse({"--config", folder / "empty.json"}).error().message, HasSubstr("empty.json"));
  std::ofstream(folder / "bad.json") << R"({"nmu_frames": 4})";
  EXPECT_THAT(parse({"--config", folder / "bad.json"}).error().message,
              AllOf(HasSubstr("bad.json"), HasSubstr("did you mean 'num_frames'")));
}

TEST(OptionFlagsTest, GivenTwiceOrUnknownIsRefused) {
  EXPECT_THROW((void)parse({"--width", "1", "--width", "2"}), CLI::ParseError);
  EXPECT_THROW((void)parse({"--widht", "1"}), CLI::ParseError);
  EXPECT_THROW((void)parse({"--width"}), CLI::ParseError);
}

}  // namespace
}  // namespace shardreel::tools
