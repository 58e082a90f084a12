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
      std::cout << shared.name << ": refused: " << to_string(video.error().code) << ": "
                << video.error().describe() << std::endl;
      continue;
    }
    const VideoFacts facts = video->facts();
    const long most = facts.frame_count > 3000 ? 300 : -1;
    const auto expected = oracle_frames(shared.path, most);
    const std::int64_t count =
        most < 0 ? facts.frame_count : std::min<std::int64_t>(most, facts.frame_count);
    const auto got = decode_windows(*video, dense_windows(count, 16, 16), *decoder);
    std::size_t wrong = 0, missing = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const auto at = got.frames.find(static_cast<std::int64_t>(i));
      if (at == got.frames.end())
        ++missing;
      else
        wrong += at->second != expected[i];
    }
    std::cout << shared.name << ": " << facts.codec << " manifest " << shared.frames.value_or(-1)
              << " oracle " << expected.size() << " ours " << facts.frame_count << " packets "
              << facts.packets << " given " << got.frames.size() << " wrong " << wrong
              << " missing " << missing << " keys " << facts.keyframes << " units " << got.units
              << (facts.by_count ? " BYCOUNT" : "") << (facts.probed ? " probed" : "") << " errors "
              << got.total.errors << " peak " << got.peak_frame_bytes / 1024 << "K estimate "
              << video->parameters()->decoder_bytes / 1024 << "K reused " << got.reused << " "
              << (got.total.first_error ? got.total.first_error->message : "") << std::endl;
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(got.repeated, 0u);
    EXPECT_EQ(got.failures.size(), 0u) << got.failures.front();
    EXPECT_EQ(missing, 0u);
  }
}

}  // namespace
}  // namespace shardreel::testing
