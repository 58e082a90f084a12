#include "tools/pack/truncation.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/shards/shard_testing.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/support/test_shards.h"
#include "tools/pack/check.h"

namespace shardreel::tools {
namespace {

using shardreel::testing::content_of;
using shardreel::testing::make_test_clip;
using shardreel::testing::read_file;
using shardreel::testing::rounds;
using shardreel::testing::shared_videos;
using shardreel::testing::test_seed;

std::optional<std::string> found_in(const std::string& bytes) {
  return find_truncation(*content_of(bytes)).value();
}

struct Case {
  const char* arguments;
  const char* extension;
  bool every_byte;  ///< else only whole packets can go unseen
};

TEST(Truncation, EveryCutOfAContainerWithSizesIsSeen) {
  std::mt19937_64 random(test_seed());
  for (const Case& one :
       {Case{"-c:v libx264 -g 10", "mp4", true},
        Case{"-c:v libx264 -g 10 -movflags +faststart", "mp4", true},
        Case{"-c:v libx264 -g 10", "mov", true}, Case{"-c:v libx264 -g 10", "mkv", true},
        Case{"-c:v libvpx -g 10", "webm", true}, Case{"-c:v mpeg4 -g 10", "avi", true},
        Case{"-c:v libx264 -g 10", "flv", false}, Case{"-c:v libx264 -g 10", "ts", false},
        Case{"-c:v libtheora -g 10", "ogv", false}}) {
    const std::string whole = read_file(make_test_clip(one.arguments, 20, one.extension));
    ASSERT_EQ(found_in(whole), std::nullopt) << one.extension;
    std::uint64_t unseen = 0;
    const std::uint64_t cuts = rounds(4000);
    for (std::uint64_t round = 0; round < cuts; ++round) {
      const std::size_t cut = 1100 + random() % (whole.size() - 1100);
      if (!found_in(whole.substr(0, cut))) {
        ++unseen;
        EXPECT_FALSE(one.every_byte) << one.extension << " cut at " << cut;
      }
    }
    EXPECT_LE(unseen, cuts / 10) << one.extension;
  }
}

TEST(Truncation, HostileBytesAreNoMatter) {
  std::mt19937_64 random(test_seed());
  const std::string clip = read_file(make_test_clip("-c:v libx264 -g 10", 20, "mp4"));
  const std::vector<std::string> starts{
      clip.substr(0, 200), std::string("\x1a\x45\xdf\xa3", 4), "RIFF", "FLV\x01", "OggS", "G"};
  for (std::uint64_t round = 0; round < rounds(20'000); ++round) {
    std::string bytes = starts[random() % starts.size()];
    const std::size_t size = random() % 600;
    while (bytes.size() < size) bytes += static_cast<char>(random());
    (void)found_in(bytes);
  }
  EXPECT_EQ(found_in(""), std::nullopt);
  EXPECT_EQ(found_in("version https://git-lfs.github.com/spec/v1\n"), std::nullopt);
}

TEST(Check, WholeRealVideosAreNotTruncated) {
  const auto videos = shared_videos();
  if (videos.empty()) GTEST_SKIP() << "the shared media are not here";
  for (const auto& video : videos) {
    if (video.category == "truncated_corrupt" || video.category == "not_media") continue;
    EXPECT_EQ(found_in(read_file(video.path)), std::nullopt) << video.name;
  }
}

ErrorCode code_of(const std::string& bytes, const char* field, CheckLevel level) {
  const auto checked = check_video(content_of(bytes), field, level, {});
  return checked ? ErrorCode::kInternal : checked.error().code;
}

TEST(Check, SaysWhatAVideoIs) {
  const std::string path = make_test_clip("-c:v libx264 -g 10 -movflags +faststart", 30, "mp4");
  const std::string clip = read_file(path);
  const auto facts = check_video(content_of(clip), "mp4", CheckLevel::kDecode, {}).value();
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->codec, "h264");
  EXPECT_EQ(facts->width, 320U);
  EXPECT_EQ(facts->height, 240U);
  EXPECT_EQ(facts->frames, 30U);
  EXPECT_NEAR(facts->seconds, 1, 1e-6);
  EXPECT_EQ(check_video(content_of("x"), "mp4", CheckLevel::kNone, {}).value(), std::nullopt);
}

TEST(Check, LooksAsCloselyAsItIsTold) {
  const std::string clip =
      read_file(make_test_clip("-c:v libx264 -g 10 -movflags +faststart", 30, "mp4"));
  for (const CheckLevel level : {CheckLevel::kNone, CheckLevel::kOpen, CheckLevel::kDecode}) {
    EXPECT_EQ(code_of("", "mp4", level), ErrorCode::kNotMedia);
  }
  EXPECT_EQ(code_of("no video at all, but long enough", "mp4", CheckLevel::kOpen),
            ErrorCode::kNotMedia);
  EXPECT_EQ(code_of(clip.substr(0, clip.size() - 1), "mp4", CheckLevel::kOpen),
            ErrorCode::kTruncated);
  // Damage inside the last pictures: only decoding sees it.
  std::string damaged = clip;
  for (std::size_t i = damaged.size() - 400; i < damaged.size(); i += 3) damaged[i] = '\x5a';
  EXPECT_TRUE(check_video(content_of(damaged), "mp4", CheckLevel::kOpen, {}));
  EXPECT_EQ(code_of(damaged, "mp4", CheckLevel::kDecode), ErrorCode::kDecodeError);
  std::stop_source stop;
  stop.request_stop();
  const auto stopped = check_video(content_of(clip), "mp4", CheckLevel::kDecode, stop.get_token());
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kStopped);
}

}  // namespace
}  // namespace shardreel::tools
