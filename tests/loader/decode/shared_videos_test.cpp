// Every shared real video, where that folder exists: frames equal the ffmpeg program's, one for
// one; what cannot be decoded has its reason.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "tests/loader/decode/oracle.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

TEST(SharedVideos, FramesEqualTheOracle) {
  const auto videos = shared_videos();
  if (videos.empty()) GTEST_SKIP() << "no shared media";
  const auto decoder = make_cpu_decoder();
  for (const SharedVideo& shared : videos) {
    SCOPED_TRACE(shared.name);
    auto video = open_video(shared.path);
    if (!video) {
      static const std::map<std::string, ErrorCode> kRefused{
          {"audio_only", ErrorCode::kNoVideoStream},
          {"not_media", ErrorCode::kNotMedia},
          {"truncated_corrupt", ErrorCode::kNotMedia},
          {"encrypted_unsupported", ErrorCode::kEncrypted}};
      ASSERT_TRUE(kRefused.count(shared.category)) << video.error().describe();
      EXPECT_EQ(to_string(video.error().code), to_string(kRefused.at(shared.category)));
      EXPECT_TRUE(!shared.frames || shared.category == "encrypted_unsupported");
      continue;
    }
    const VideoFacts facts = video->facts();
    const long most = facts.frame_count > 3000 ? 300 : -1;
    const auto expected = oracle_frames(shared.path, most);
    const std::int64_t count =
        most < 0 ? facts.frame_count : std::min<std::int64_t>(most, facts.frame_count);
    const auto got = decode_windows(*video, dense_windows(count, 16, 16), *decoder);
    // A damaged video shows fewer frames than it has packets: then the sequence counts.
    const bool damaged = got.total.errors > 0;
    // The manifest counts the frames of the first video stream, whichever is taken.
    const bool counted = facts.video_streams == 1;
    if (shared.frames && counted) {
      EXPECT_EQ(static_cast<long>(expected.size()), most < 0 ? *shared.frames : most);
    }
    if (!damaged && counted) {
      EXPECT_EQ(facts.frame_count, shared.frames.value_or(0));
    }
    EXPECT_EQ(got.frames.size(), expected.size());
    std::size_t wrong = 0, number = 0;
    for (const auto& [frame, hash] : got.frames) {
      const std::size_t index = damaged ? number : static_cast<std::size_t>(frame);
      wrong += index >= expected.size() || hash != expected[index];
      ++number;
    }
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(got.repeated, 0u);
    EXPECT_EQ(got.failures.size(), 0u) << got.failures.front();
  }
}

// Every clip length from 1 to 16 over the shared videos in turn, and sparse windows, in memory and
// streaming: the same frames as one decode from the first packet to the last.
TEST(SharedVideos, UnitsEqualOneFullDecode) {
  const auto videos = shared_videos();
  if (videos.empty()) GTEST_SKIP() << "no shared media";
  const auto decoder = make_cpu_decoder();
  std::mt19937_64 random(test_seed());
  std::int64_t length = 0;
  for (const SharedVideo& shared : videos) {
    SCOPED_TRACE(shared.name);
    auto whole = open_video(shared.path, false, UINT32_MAX);
    if (!whole) continue;
    const std::int64_t count = std::min<std::int64_t>(whole->facts().frame_count, 70);
    const auto expected = decode_windows(*whole, dense_windows(count, count, count), *decoder);
    length = length % 16 + 1;
    for (int round = 0; round < 3; ++round) {
      auto video = open_video(shared.path, true, 1 + static_cast<std::uint32_t>(random() % 6));
      ASSERT_TRUE(video);
      const auto stride = round == 0 ? length : length + static_cast<std::int64_t>(random() % 40);
      auto windows = dense_windows(count, length, stride);
      const std::size_t clips = windows.size();
      const auto got = decode_windows(*video, std::move(windows), *decoder, round == 2);
      EXPECT_TRUE(got.failures.empty()) << got.failures.front();
      EXPECT_EQ(got.window_ordinals.size(), clips);
      if (expected.total.errors > 0) continue;  // a damaged video has no one right answer
      for (const auto& [frame, hash] : got.frames)
        EXPECT_EQ(hash, expected.frames.at(frame)) << "frame " << frame << " T=" << length;
      if (round == 0) {
        EXPECT_EQ(got.frames.size(), expected.frames.size());
      }
    }
  }
}

}  // namespace
}  // namespace shardreel::testing
