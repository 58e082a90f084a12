// Every shared real video, where that folder exists: frames equal the ffmpeg program's, one for
// one; what cannot be decoded has its reason.

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/loader/decode/oracle.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

TEST(SharedVideos, FramesEqualTheOracle) {
  const auto videos = shared_videos();
  if (videos.empty()) GTEST_SKIP() << "no shared media";
  const char* only = std::getenv("SHARDREEL_TEST_ONLY");
  const auto decoder = make_cpu_decoder();
  for (const SharedVideo& shared : videos) {
    if (only != nullptr && shared.name.find(only) == std::string::npos) continue;
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
    if (shared.frames) {
      EXPECT_EQ(static_cast<long>(expected.size()), most < 0 ? *shared.frames : most);
    }
    if (!damaged) {
      EXPECT_EQ(facts.frame_count, shared.frames.value_or(0));
    }
    EXPECT_EQ(got.frames.size(), expected.size());
    std::size_t wrong = 0, number = 0;
    for (const auto& [frame, hash] : got.frames) {
      const std::size_t index = damaged ? number : static_cast<std::size_t>(frame);
      wrong += index >= expected.size() || hash != expected[index];
      ++number;
    }
    std::cout << shared.name << ": " << facts.codec << " manifest " << shared.frames.value_or(-1)
              << " oracle " << expected.size() << " ours " << facts.frame_count << " packets "
              << facts.packets << " given " << got.frames.size() << " wrong " << wrong << " keys "
              << facts.keyframes << " units " << got.units << (facts.by_count ? " BYCOUNT" : "")
              << (facts.probed ? " probed" : "") << " errors " << got.total.errors << " peak "
              << got.peak_frame_bytes / 1024 << "K estimate "
              << video->parameters()->decoder_bytes / 1024 << "K reused " << got.reused << " "
              << (got.total.first_error ? got.total.first_error->message : "") << std::endl;
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(got.repeated, 0u);
    EXPECT_EQ(got.failures.size(), 0u) << got.failures.front();
  }
}

}  // namespace
}  // namespace shardreel::testing
