#include "loader/read/video_names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "shardreel/options.h"

namespace shardreel {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(VideoNames, TheLastPartTells) {
  for (const char* video : {"mp4", "0 (x).mp4", "left.mkv", "webp", "1.gif", "rmvb", "y4m"})
    EXPECT_TRUE(names_a_video(video)) << video;
  for (const char* other : {"", "json", "mp4.json", "mp4 ", "cls", "jpg", ".", "mp4."})
    EXPECT_FALSE(names_a_video(other)) << other;
}

// The first one present is the video: what is a picture more often must not come before a video.
TEST(VideoNames, PicturesAreTheLastOfTheDefaultFields) {
  const auto fields = InputOptions().video_fields;
  const auto first = std::ranges::find_if(fields, names_a_picture);
  EXPECT_EQ(fields.end() - first, 2);
  EXPECT_TRUE(std::all_of(first, fields.end(), names_a_picture));
}

TEST(VideoNames, TheHintCanBePasted) {
  const std::string hint = how_to_take("Track 2", "0 (x).mp4");
  EXPECT_THAT(hint, HasSubstr("video_fields = [\"0 (x).mp4\"]"));
  EXPECT_THAT(hint, HasSubstr("--video-fields '0 (x).mp4'"));
  EXPECT_THAT(hint, HasSubstr("first dot: the key is 'Track 2'"));
  EXPECT_THAT(how_to_take("a", "rm"), Not(HasSubstr("dot")));
  EXPECT_EQ(video_fields_text({"a\"\\", "b"}),
            "video_fields = [\"a\\\"\\\\\", \"b\"] (--video-fields 'a\"\\,b')");
  // A comma separates words on the command line: JSON and Python alone can say it.
  EXPECT_EQ(video_fields_text({"0, x.mp4"}), "video_fields = [\"0, x.mp4\"]");
}

}  // namespace
}  // namespace shardreel
