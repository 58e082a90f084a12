#include "tools/pack/transcode.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "loader/demux/video_file.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"
#include "tests/tools/pack/oracle.h"

namespace shardreel::tools {
namespace {

using testing::ScratchDir;

class Transcode : public ::testing::Test {
 protected:
  Result<TranscodedVideo> run(const std::string& path, const std::string& spec) {
    const auto dot = path.rfind('.');
    return transcode_video(testing::open_bytes(path), path.substr(dot + 1),
                           parse_transcode_spec(spec).value(), scratch_.path().string(), {});
  }
  /// Transcode to a file.
  std::string made(const std::string& path, const std::string& spec) {
    auto video = run(path, spec);
    if (!video) {
      ADD_FAILURE() << path << " with " << spec << ": " << video.error().describe();
      return {};
    }
    last_ = *video;
    return testing::saved(*video->content, scratch_ / fmt::format("{}.mp4", count_++));
  }
  /// Expect the same frames at the same times, to a fraction of a frame.
  static void expect_same_times(const std::string& source, const std::string& output,
                                double tolerance) {
    const auto before = testing::probe_times(source);
    const auto after = testing::probe_times(output);
    ASSERT_EQ(before.size(), after.size()) << source;
    double off = 0;
    for (std::size_t i = 0; i < before.size(); ++i)
      off = std::max(off, std::abs(before[i] - after[i]));
    EXPECT_LE(off, tolerance) << source;
  }

  ScratchDir scratch_;
  TranscodedVideo last_;
  int count_ = 0;
};

TEST_F(Transcode, EveryCodecKeepsFramesAndTimesInClosedGroupsOfOneLength) {
  const std::string source = testing::make_test_clip("-c:v libx264 -g 250 -bf 3", 70, "mp4");
  for (const std::string codec :
       {"h264,preset=veryfast", "hevc,preset=ultrafast", "vp9,preset=8", "av1,preset=8"}) {
    const std::string output = made(source, "codec=" + codec + ",gop=12,short_side=96");
    expect_same_times(source, output, 1e-3);
    EXPECT_THAT(testing::probe_keyframes(output), ::testing::ElementsAre(0, 12, 24, 36, 48, 60))
        << codec;
    EXPECT_EQ(testing::probe_stream(output, "codec_name"), codec.substr(0, codec.find(',')));
    EXPECT_EQ(testing::probe_stream(output, "width"), "128");
    EXPECT_EQ(testing::probe_stream(output, "height"), "96");
    EXPECT_GT(testing::luma_psnr(source, output, "scale=128:96:flags=bicubic"), 28) << codec;
  }
}

TEST_F(Transcode, ARandomWindowCostsAFractionOfWhatItDid) {
  for (const char* source_codec : {"-c:v libx264 -g 250 -keyint_min 250 -sc_threshold 0 -bf 0",
                                   "-c:v libx264 -g 250 -keyint_min 250 -sc_threshold 0"}) {
    const std::string source = testing::make_test_clip(source_codec, 300, "mp4");
    made(source, "gop=30,preset=veryfast,short_side=64");
    EXPECT_EQ(last_.source_cost.window_frames, 16);
    EXPECT_GE(last_.source_cost.plain_decoded_frames, 3.5 * last_.cost.plain_decoded_frames);
    EXPECT_GE(last_.source_cost.decoded_frames, 3.5 * last_.cost.decoded_frames) << source_codec;
    EXPECT_LE(last_.cost.decoded_frames, last_.cost.plain_decoded_frames);
  }
}

// Counted by hand: a frame of a stream without B frames takes all since its keyframe.
TEST_F(Transcode, TheCostIsExact) {
  made(
      testing::make_test_clip("-c:v libx264 -g 10 -keyint_min 10 -sc_threshold 0 -bf 0", 40, "mp4"),
      "gop=12,preset=ultrafast");
  double expected = 0;
  for (int first = 0; first + 16 <= 40; ++first) expected += first % 10 + 16;
  EXPECT_NEAR(last_.source_cost.plain_decoded_frames, expected / 25, 1e-9);
  EXPECT_NEAR(last_.source_cost.decoded_frames, expected / 25, 1e-9);
}

/// Counts, and looks at nothing.
struct NoSink : FrameSink {
  Result<void> frame(const AVFrame&, const WantedFrame&, bool) override { return {}; }
};

TEST_F(Transcode, TheLoaderDecodesWhatTheCostSays) {
  const std::string path =
      made(testing::make_test_clip("-c:v libx264 -g 10 -bf 2", 60, "mp4"), "gop=12,short_side=32");
  auto video = VideoFile::open(testing::open_bytes(path), {"mp4", true, 1}).value();
  const auto decoder = make_cpu_decoder();
  std::uint64_t packets = 0;
  for (std::int64_t first = 0; first + 16 <= 60; ++first) {
    Window window;
    for (std::int64_t frame = first; frame < first + 16; ++frame) window.frames.push_back(frame);
    ASSERT_EQ(video.plan_units({window}), 1u);
    auto unit = video.next_unit(false).value();
    NoSink sink;
    packets += decoder->decode(*unit, sink, {}).value().packets;
  }
  EXPECT_NEAR(static_cast<double>(packets) / 45, last_.cost.decoded_frames, 1e-9);
}

TEST_F(Transcode, SameBytesTwiceAndFromFourThreads) {
  const std::string source =
      testing::make_test_clip("-c:v libx264 -preset veryfast -g 50 -bf 2", 40, "mp4");
  for (const char* spec :
       {"gop=12,short_side=96", "codec=hevc,preset=ultrafast,gop=12,short_side=96",
        "codec=vp9,preset=8,gop=12,short_side=96"}) {
    const std::string first = testing::all_bytes(*run(source, spec).value().content);
    std::vector<std::string> others(4);
    std::vector<std::thread> threads;
    for (std::string& bytes : others)
      threads.emplace_back([&] { bytes = testing::all_bytes(*run(source, spec).value().content); });
    for (std::thread& thread : threads) thread.join();
    for (const std::string& bytes : others) EXPECT_TRUE(bytes == first) << spec;
    EXPECT_EQ(first.find("Lavf"), std::string::npos) << "a version is written into the file";
    EXPECT_LT(first.find("moov"), first.find("mdat")) << "the index is not in front";
  }
}

TEST_F(Transcode, RotationAndColourTagsSurvive) {
  const std::string plain = testing::make_test_clip(
      "-vf scale=out_color_matrix=bt709:out_range=tv,format=yuv420p -c:v libx264 -preset ultrafast "
      "-colorspace bt709 -color_primaries bt709 -color_trc iec61966-2-1 -color_range tv",
      30, "mp4");
  const std::string turned =
      testing::make_clip(fmt::format("-i '{}' -c copy -metadata:s:v:0 rotate=90", plain), "mp4");
  ASSERT_FALSE(testing::probe_stream(turned, "stream_side_data=rotation").empty());
  for (const char* codec :
       {"h264,preset=ultrafast", "hevc,preset=ultrafast", "vp9,preset=8", "av1,preset=8"}) {
    const std::string output = made(turned, fmt::format("codec={},short_side=64,gop=15", codec));
    for (const char* entry : {"stream_side_data=rotation", "color_space", "color_primaries",
                              "color_transfer", "color_range"})
      EXPECT_EQ(testing::probe_stream(output, entry), testing::probe_stream(turned, entry))
          << codec << " " << entry;
    // The pixels are not turned: the tag says what to do.
    EXPECT_EQ(testing::probe_stream(output, "height"), "64") << codec;
    EXPECT_GT(testing::luma_psnr(turned, output, "scale=86:64:flags=bicubic"), 26) << codec;
  }
}

TEST_F(Transcode, ValuesAreKeptWhereOnlyTheNameOfTheFormatChanges) {
  const struct {
    const char* format;
    const char* range;
    const char* expected_range;
  } kSources[] = {{"yuvj420p", "pc", "pc"}, {"yuv420p", "tv", "tv"}, {"yuv444p", "pc", "pc"}};
  for (const auto& [format, range, expected] : kSources) {
    const std::string source = testing::make_test_clip(
        fmt::format("-c:v libx264 -preset ultrafast -qp 1 -pix_fmt {} -color_range {} "
                    "-colorspace smpte170m -color_primaries smpte170m -color_trc smpte170m",
                    format, range),
        15, "mp4");
    const std::string output = made(source, "crf=1,gop=15,preset=ultrafast");
    EXPECT_EQ(testing::probe_stream(output, "color_range"), expected) << format;
    // Luma is what it was; a range conversion would cost 30 dB.
    EXPECT_GT(testing::luma_psnr(source, output, "null"), 45) << format;
  }
}

TEST_F(Transcode, DepthFollowsTheRule) {
  const std::string source = testing::make_test_clip(
      "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv422p10le "
      "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc",
      20, "mp4");
  const struct {
    const char* spec;
    const char* format;
  } kRules[] = {{"codec=h264,preset=ultrafast", "yuv420p"},
                {"codec=h264,preset=ultrafast,depth=10", "yuv420p10le"},
                {"codec=hevc,preset=ultrafast", "yuv420p10le"},
                {"codec=hevc,preset=ultrafast,depth=8", "yuv420p"},
                {"codec=vp9,preset=8", "yuv420p10le"}};
  for (const auto& [spec, format] : kRules) {
    const std::string output = made(source, std::string(spec) + ",short_side=64");
    EXPECT_EQ(testing::probe_stream(output, "pix_fmt"), format) << spec;
    EXPECT_EQ(testing::probe_stream(output, "color_transfer"), "smpte2084") << spec;
    EXPECT_GT(testing::luma_psnr(source, output,
                                 fmt::format("scale=86:64:flags=bicubic,format={}", format)),
              28)
        << spec;
  }
}

TEST_F(Transcode, SizesAreEvenAndNeverGrowUnasked) {
  const struct {
    const char* from;
    const char* spec;
    const char* width;
    const char* height;
  } kSizes[] = {{"161x121", "", "160", "120"},
                {"161x121", "short_side=64", "86", "64"},
                {"320x240", "short_side=256", "320", "240"},
                {"96x64", "short_side=128,upscale=yes", "192", "128"},
                {"64x113", "short_side=32", "32", "56"},
                {"35x401", "short_side=16", "16", "184"}};
  for (const auto& [from, spec, width, height] : kSizes) {
    const std::string source = testing::make_test_clip(
        fmt::format("-vf scale={}:flags=bilinear -c:v libvpx-vp9 -deadline realtime -cpu-used 8",
                    from),
        12, "webm", from);
    ASSERT_EQ(fmt::format("{}x{}", testing::probe_stream(source, "width"),
                          testing::probe_stream(source, "height")),
              from);
    const std::string output = made(source, std::string("preset=ultrafast,") + spec);
    EXPECT_EQ(testing::probe_stream(output, "width"), width) << from << " " << spec;
    EXPECT_EQ(testing::probe_stream(output, "height"), height) << from << " " << spec;
  }
}

TEST_F(Transcode, VariableFrameTimesSurviveAndFpsReplacesThem) {
  // 60 frames whose distances change all the time, and a pause of two seconds.
  const std::string source = testing::make_clip(
      "-f lavfi -i testsrc2=size=160x120:rate=30 -frames:v 60 -vf "
      "\"settb=1/1000,setpts='N*33+mod(N*N*7,23)+if(gt(N,30),2000,0)'\" -vsync vfr -c:v libx264 "
      "-preset veryfast -bf 3 -g 250 -enc_time_base 1/1000",
      "mkv");
  const auto times = testing::probe_times(source);
  ASSERT_EQ(times.size(), 60u);
  for (const char* codec : {"h264,preset=veryfast", "hevc,preset=ultrafast", "vp9,preset=8"})
    expect_same_times(source, made(source, fmt::format("codec={},short_side=64,gop=12", codec)),
                      1e-3);
  const std::string even = made(source, "fps=10,preset=veryfast,gop=12");
  const auto paced = testing::probe_times(even);
  EXPECT_NEAR(static_cast<double>(paced.size()), (times.back() - times.front()) * 10, 2);
  for (std::size_t i = 1; i < paced.size(); ++i) ASSERT_NEAR(paced[i] - paced[i - 1], 0.1, 1e-6);
  EXPECT_EQ(last_.source_frames, 60);
  EXPECT_EQ(last_.frames, static_cast<std::int64_t>(paced.size()));
}

TEST_F(Transcode, AudioIsDroppedOrCopiedAndPicturesOfCoversAreNot) {
  const std::string cover =
      testing::make_clip("-f lavfi -i color=red:size=64x64 -frames:v 1 -c:v mjpeg", "jpg");
  const std::string video = testing::make_test_clip("-c:v libx264 -preset ultrafast", 45, "mp4");
  const std::string source = testing::make_clip(
      fmt::format("-i '{}' -i '{}' -f lavfi -i sine=d=1.5 -map 1 -map 2 -map 0 -c:v copy -c:a aac "
                  "-disposition:v:1 attached_pic",
                  cover, video),
      "mp4");
  const auto audio = [](const std::string& path) {
    return testing::run_command(fmt::format(
        "ffmpeg -v error -i '{}' -vn -map '0:a?' -c copy -f framemd5 - | grep -v '^#' | sed "
        "'s/.*,//'",
        path));
  };
  ASSERT_FALSE(audio(source).empty());
  const std::string without = made(source, "preset=ultrafast,gop=15");
  EXPECT_EQ(testing::run_command(fmt::format(
                "ffprobe -v quiet -show_entries stream=codec_type -of csv=p=0 '{}'", without)),
            "video\n");
  const std::string with = made(source, "preset=ultrafast,gop=15,audio=copy");
  EXPECT_EQ(audio(with), audio(source));
  expect_same_times(source, with, 1e-3);
}

TEST_F(Transcode, AudioThatMp4CannotHoldIsRefusedWithTheWayOut) {
  const std::string source = testing::make_clip(
      "-f lavfi -i testsrc2=size=64x48:rate=10 -f lavfi -i sine=d=1 -t 1 -c:v libx264 -c:a "
      "pcm_s16le",
      "mkv");
  const auto video = run(source, "preset=ultrafast,audio=copy");
  ASSERT_FALSE(video);
  EXPECT_EQ(video.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(video.error().message, ::testing::HasSubstr("pcm_s16le"));
  EXPECT_THAT(video.error().message, ::testing::HasSubstr("audio=drop"));
}

TEST_F(Transcode, ADamagedSourceIsAFailureNotHalfAVideo) {
  const std::string whole = testing::all_bytes(*testing::open_bytes(
      testing::make_test_clip("-c:v libx264 -movflags faststart -g 20", 60, "mp4")));
  const auto outcome = [&](std::string bytes) {
    const std::string path = scratch_ / "damaged.mp4";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
    const auto video = run(path, "preset=ultrafast,short_side=32");
    return video ? std::string("accepted") : std::string(to_string(video.error().code));
  };
  ASSERT_EQ(outcome(whole), "accepted");
  EXPECT_EQ(outcome(whole.substr(0, whole.size() / 2)), "truncated");
  EXPECT_EQ(outcome(whole.substr(0, whole.size() - 1)), "truncated");
  EXPECT_EQ(outcome(whole.substr(0, 500)), "not_media");
  EXPECT_EQ(outcome(""), "not_media");
  std::string flipped = whole;
  for (std::size_t i = whole.size() / 2; i < whole.size() / 2 + 400; ++i) flipped[i] ^= 0x5a;
  EXPECT_EQ(outcome(flipped), "decode_error");
}

TEST_F(Transcode, StopsWhenAsked) {
  const std::string source = testing::make_test_clip("-c:v libx264 -g 250", 300, "mp4");
  std::stop_source stop;
  stop.request_stop();
  const auto video = transcode_video(testing::open_bytes(source), "mp4", {},
                                     scratch_.path().string(), stop.get_token());
  ASSERT_FALSE(video);
  EXPECT_EQ(video.error().code, ErrorCode::kStopped);
  EXPECT_TRUE(std::filesystem::is_empty(scratch_.path())) << "a file was left";
}

TEST_F(Transcode, ASpoolFolderThatIsNotThereIsNamed) {
  const std::string source = testing::make_test_clip("-c:v libx264 -preset ultrafast", 15, "mp4");
  const auto video = transcode_video(testing::open_bytes(source), "mp4", {}, "/nowhere/at/all", {});
  ASSERT_FALSE(video);
  EXPECT_THAT(video.error().message, ::testing::HasSubstr("/nowhere/at/all"));
}

TEST_F(Transcode, SharedVideosKeepFramesAndTimes) {
  int seen = 0;
  const bool full = testing::rounds(20) > 1;
  for (const testing::SharedVideo& video : testing::shared_videos()) {
    const auto bytes = std::filesystem::file_size(video.path);
    if (bytes > (std::uintmax_t{full ? 4096u : 300u} << 10)) continue;
    if (!full && video.frames.value_or(0) > 130) continue;
    auto done = run(video.path, "preset=ultrafast,short_side=32,gop=12,crf=40");
    if (!done) continue;  // the corrupt, the encrypted, ...: enough must be left
    ++seen;
    const auto before = testing::probe_times(video.path);
    const std::string output = testing::saved(*done->content, scratch_ / "shared.mp4");
    const auto after = testing::probe_times(output);
    ASSERT_EQ(before.size(), after.size()) << video.name;
    if (std::count(before.begin(), before.end(), 0.0) > 1) continue;  // has no times
    const double frame = (after.back() - after.front()) / static_cast<double>(after.size());
    for (std::size_t i = 0; i < before.size(); ++i)
      ASSERT_NEAR(before[i] - before[0], after[i] - after[0], frame) << video.name << " " << i;
    EXPECT_EQ(testing::probe_stream(output, "stream_side_data=rotation"),
              testing::probe_stream(video.path, "stream_side_data=rotation"))
        << video.name;
  }
  if (seen == 0) GTEST_SKIP() << "no shared media here";
  EXPECT_GE(seen, 10);
}

}  // namespace
}  // namespace shardreel::tools
