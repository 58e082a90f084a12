// Members that try to reach other files, are not videos, or are damaged: nothing else is opened,
// nothing crashes, and every refusal has its reason.

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "tests/loader/decode/oracle.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

Result<VideoFile> open_bytes(std::string bytes, const std::string& field) {
  VideoFileOptions options;
  options.field = field;
  return VideoFile::open(bytes_in_memory(std::move(bytes)), options);
}

class Hostile : public ::testing::Test {
 protected:
  Hostile() : clip_(make_test_clip("-c:v libx264 -g 12 -bf 2", 36, "mp4", "160x120")) {
    std::filesystem::copy_file(clip_, bait_);
    // Read times are only kept where the file system keeps them; the refusal itself is the test.
    reference_ = frames_of(read_file(clip_));
  }
  static std::size_t frames_of(std::string bytes) {
    auto video = open_bytes(std::move(bytes), "mp4");
    return video ? static_cast<std::size_t>(video->facts().frame_count) : 0;
  }
  ScratchDir scratch_;
  std::string clip_;
  std::string bait_ = scratch_ / "bait.mp4";
  std::size_t reference_ = 0;
};

TEST_F(Hostile, PlaylistsAndScriptsAreNotMedia) {
  ASSERT_EQ(reference_, 36u);
  const std::string lists[] = {
      "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:10\n#EXTINF:5.0,\nfile://" + bait_ +
          "\n#EXT-X-ENDLIST\n",
      "ffconcat version 1.0\nfile '" + bait_ + "'\n",
      "file '" + bait_ + "'\n",
      "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\">"
      "<Period><AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" bandwidth=\"1\">"
      "<BaseURL>file://" +
          bait_ + "</BaseURL></Representation></AdaptationSet></Period></MPD>",
      "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
      "[InternetShortcut]\nURL=file://" + bait_ + "\n",
      "<svg xmlns=\"http://www.w3.org/2000/svg\"><image href=\"" + bait_ + "\"/></svg>",
      "",
      std::string(1, '\0'),
      std::string(100000, '\0'),
      "just some text\n"};
  for (const std::string& list : lists) {
    for (const char* field : {"mp4", "m3u8", "ffconcat", "concat", "mpd", "sdp", "jpg", "", "h264",
                              "../x", "http://127.0.0.1/x.mp4"}) {
      const auto video = open_bytes(list, field);
      ASSERT_FALSE(video) << list.substr(0, 40) << " as " << field;
      const auto code = video.error().code;
      EXPECT_TRUE(code == ErrorCode::kNotMedia || code == ErrorCode::kNoVideoStream ||
                  code == ErrorCode::kDecodeError || code == ErrorCode::kTruncated ||
                  code == ErrorCode::kUnsupported)
          << video.error().describe();
      EXPECT_FALSE(video.error().message.empty());
    }
  }
}

// An mp4 whose samples lie in another file (a data reference that is not "self-contained").
TEST_F(Hostile, ExternalDataReferencesAreNotFollowed) {
  std::string bytes = read_file(clip_);
  const auto dref = bytes.find("dref");
  ASSERT_NE(dref, std::string::npos);
  const auto entry = bytes.find("url ", dref);
  ASSERT_NE(entry, std::string::npos);
  ASSERT_EQ(bytes[entry + 7], 1);  // self-contained
  bytes[entry + 7] = 0;
  bytes.replace(entry, 4, "alis");
  const auto video = open_bytes(bytes, "mp4");
  // Taken as its own file (FFmpeg ignores the reference) or refused, never looked up.
  if (video) {
    EXPECT_LE(video->facts().frame_count, 36);
  }
}

// A source whose every n-th read fails: the error comes back as it is.
class FailingSource final : public RandomAccess {
 public:
  FailingSource(std::shared_ptr<const RandomAccess> of, int good)
      : of_(std::move(of)), good_(good) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return of_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    if (good_-- <= 0) return Error{.code = ErrorCode::kIo, .message = "the disk is gone"};
    return of_->read_at(offset, into.first(std::min<std::size_t>(into.size(), 4096)));
  }

 private:
  std::shared_ptr<const RandomAccess> of_;
  mutable int good_;
};

TEST_F(Hostile, ErrorsOfTheSourceAreReturned) {
  const auto source = file_in_memory(clip_);
  int failed = 0, opened = 0;
  for (int good = 0; good < 60; ++good) {
    auto video = VideoFile::open(std::make_shared<FailingSource>(source, good), {});
    if (!video) {
      EXPECT_EQ(to_string(video.error().code), "io") << video.error().describe();
      ++failed;
      continue;
    }
    ++opened;
    video->plan_units(dense_windows(36, 12, 12));
    const auto unit = video->next_unit(false);
    if (!unit) {
      EXPECT_EQ(to_string(unit.error().code), "io");
    }
  }
  EXPECT_GT(failed, 0);
  EXPECT_GT(opened, 0);
}

/// Open, plan, decode everything: whatever comes out is fine as long as it ends soon and sensibly.
void survive(std::string bytes, const char* field, VideoDecoder& decoder) {
  const auto begin = std::chrono::steady_clock::now();
  auto video = open_bytes(std::move(bytes), field);
  if (video) {
    const auto count = std::min<std::int64_t>(video->facts().frame_count, 500);
    const auto got = decode_windows(*video, dense_windows(count, 8, 8), decoder);
    EXPECT_LE(got.frames.size(), static_cast<std::size_t>(count));
  } else {
    EXPECT_FALSE(video.error().message.empty());
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(took.count(), sanitized() ? 60 : 10);
}

struct Victim {
  const char* arguments;
  const char* extension;
};

class Damaged : public ::testing::TestWithParam<Victim> {};

TEST_P(Damaged, CutAnywhereAndWithFlippedBytes) {
  const std::string whole =
      read_file(make_test_clip(GetParam().arguments, 20, GetParam().extension, "160x120"));
  std::mt19937_64 random(test_seed());
  const auto decoder = make_cpu_decoder();
  for (std::uint64_t round = 0; round < rounds(400); ++round)
    survive(whole.substr(0, random() % (whole.size() + 1)), GetParam().extension, *decoder);
  for (std::uint64_t round = 0; round < rounds(600); ++round) {
    std::string bytes = whole;
    // Headers are hit as often as pictures: they are small and hold the sizes.
    const std::size_t reach =
        round % 2 == 0 ? bytes.size() : std::min<std::size_t>(bytes.size(), 1500);
    for (std::uint64_t flips = 1 + random() % 20; flips > 0; --flips) {
      const std::size_t at = random() % reach;
      bytes[round % 4 == 3 ? bytes.size() - 1 - at : at] = static_cast<char>(random());
    }
    survive(std::move(bytes), GetParam().extension, *decoder);
  }
}

const Victim kVictims[] = {{"-c:v libx264 -g 8 -bf 2", "mp4"},
                           {"-c:v libx264 -g 8 -bf 2", "ts"},
                           {"-c:v libx265 -g 8 -x265-params log-level=none:pools=1", "mkv"},
                           {"-c:v libvpx-vp9 -g 8 -deadline realtime -cpu-used 8", "webm"},
                           {"-c:v libsvtav1 -preset 12 -g 8", "mp4"},
                           {"-c:v mpeg4 -g 8 -bf 2", "avi"},
                           {"-c:v mpeg2video -g 8 -bf 2", "mpg"},
                           {"-c:v mjpeg -q:v 5", "mov"},
                           {"-c:v libtheora -g 8", "ogv"},
                           {"-c:v libx264 -g 8", "flv"},
                           {"-c:v wmv2 -g 8", "wmv"}};
INSTANTIATE_TEST_SUITE_P(All, Damaged, ::testing::ValuesIn(kVictims));

// The samples of a damaged video must not depend on which units a thread decoded before.
TEST_F(Hostile, DamagedUnitsDoNotDependOnTheDecodersPast) {
  const std::string whole = read_file(clip_);
  std::mt19937_64 random(test_seed());
  const auto used = make_cpu_decoder();
  for (std::uint64_t round = 0; round < rounds(400); ++round) {
    std::string bytes = whole;
    for (int flips = 0; flips < 6; ++flips)
      bytes[bytes.size() / 3 + random() % (bytes.size() / 2)] = static_cast<char>(random());
    VideoFileOptions options;
    options.unit_clips = 1 + static_cast<std::uint32_t>(round % 3);
    auto one = VideoFile::open(bytes_in_memory(bytes), options);
    auto two = VideoFile::open(bytes_in_memory(bytes), options);
    ASSERT_EQ(one.has_value(), two.has_value());
    if (!one) continue;
    const auto windows = dense_windows(one->facts().frame_count, 4, 4);
    const auto warm = decode_windows(*one, windows, *used);
    Decoded cold;
    {  // a fresh decoder for every unit
      two->plan_units(windows);
      class Fresh final : public VideoDecoder {
       public:
        Result<DecodeReport> decode(Unit& unit, FrameSink& sink,
                                    const std::stop_token& stop) override {
          return make_cpu_decoder()->decode(unit, sink, stop);
        }
        [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override { return 0; }
        void trim() noexcept override {}
      } fresh;
      cold = decode_windows(*two, windows, fresh);
    }
    EXPECT_EQ(warm.frames, cold.frames);
    EXPECT_EQ(warm.corrupt, cold.corrupt);
    EXPECT_EQ(cold.reused, 0u);
  }
}

}  // namespace
}  // namespace shardreel::testing
