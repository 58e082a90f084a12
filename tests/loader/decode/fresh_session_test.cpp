// What a window's frames are does not depend on where its session starts, nor on the video that was
// decoded in it before: each window alone in a new decoder, behind another video in a used one, and
// in one pass over the whole video give the same frames.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>
#include <set>

#include "tests/loader/decode/oracle.h"
#include "tests/support/scratch.h"
#include "tests/support/test_media.h"

namespace shardreel::testing {
namespace {

/// All frames of a video by one session that begins with its first packet.
Decoded full_pass(const std::string& path) {
  auto video = open_video(path, false, UINT32_MAX);
  if (!video) throw std::runtime_error(video.error().describe());
  const std::int64_t count = video->facts().frame_count;
  const auto decoder = make_cpu_decoder();
  return decode_windows(*video, dense_windows(count, count, count), *decoder);
}

Decoded one_window(const std::string& path, const Window& window, VideoDecoder& decoder) {
  auto video = open_video(path);
  if (!video) throw std::runtime_error(video.error().describe());
  return decode_windows(*video, {window}, decoder);
}

/// Windows of `path` in new sessions, and in `used`, which every one of `others` went through.
void expect_same_everywhere(const std::string& path, const std::vector<std::string>& others,
                            std::int64_t stride) {
  SCOPED_TRACE(path);
  const Decoded whole = full_pass(path);
  ASSERT_TRUE(whole.failures.empty()) << whole.failures.front();
  if (whole.total.errors > 0) return;  // a damaged video has no one right answer
  const auto count = static_cast<std::int64_t>(whole.frames.size());
  ASSERT_GT(count, 0);
  const auto used = make_cpu_decoder();
  std::size_t other = 0;
  for (Window window : dense_windows(count, 2, stride)) {
    window.ordinal = 0;
    const auto fresh = make_cpu_decoder();
    if (!others.empty()) {
      const auto& before = others[other++ % others.size()];
      one_window(before, Window{0, {0}}, *used);
    }
    for (VideoDecoder* decoder : {fresh.get(), used.get()}) {
      const Decoded got = one_window(path, window, *decoder);
      EXPECT_TRUE(got.failures.empty()) << got.failures.front();
      EXPECT_EQ(got.total.errors, 0u) << "frame " << window.frames.front();
      EXPECT_EQ(got.frames.size(), window.frames.size());
      for (const auto& [frame, hash] : got.frames)
        EXPECT_EQ(hash, whole.frames.at(frame))
            << "frame " << frame << (decoder == used.get() ? " behind another video" : "");
    }
  }
}

struct Encoder {
  const char* name;
  const char* arguments;
  const char* extension;
  const char* size = "96x64";
};

/// The video encoders of Debian's FFmpeg, in a container each (but rpza, which crashes).
const Encoder kEncoders[] = {
    {"libx264", "-c:v libx264 -g 8 -bf 2 -pix_fmt yuv420p", "mp4"},
    {"libx264_ts", "-c:v libx264 -g 8 -bf 2 -pix_fmt yuv420p", "ts"},
    {"libx264_raw", "-c:v libx264 -g 8 -bf 2 -pix_fmt yuv420p", "h264"},
    {"libx264_444", "-c:v libx264 -g 8 -qp 0 -pix_fmt yuv444p", "mp4"},
    {"libx264rgb", "-c:v libx264rgb -g 8", "mkv"},
    {"libx265", "-c:v libx265 -g 8 -x265-params log-level=none:pools=1", "mp4"},
    {"libx265_ts", "-c:v libx265 -g 8 -x265-params log-level=none:pools=1", "ts"},
    {"libvpx", "-c:v libvpx -g 8 -deadline realtime", "webm"},
    {"libvpx_vp9", "-c:v libvpx-vp9 -g 8 -deadline realtime -cpu-used 8", "webm"},
    {"libsvtav1", "-c:v libsvtav1 -preset 12 -g 8", "mp4"},
    {"libsvtav1_ivf", "-c:v libsvtav1 -preset 12 -g 8", "ivf"},
    {"libaom", "-c:v libaom-av1 -cpu-used 8 -usage realtime -g 8", "mkv"},
    {"mpeg4", "-c:v mpeg4 -g 8 -bf 2 -q:v 3", "mp4"},
    {"mpeg4_avi", "-c:v mpeg4 -g 8 -q:v 3", "avi"},
    {"mpeg4_quantisation", "-c:v mpeg4 -g 8 -q:v 3 -mpeg_quant 1", "m4v"},
    {"libxvid", "-c:v libxvid -g 8 -q:v 3", "avi"},
    {"mpeg2video", "-c:v mpeg2video -g 8 -bf 2 -q:v 3", "ts"},
    {"mpeg2video_colour",
     "-c:v mpeg2video -g 8 -q:v 3 -color_primaries bt709 -color_trc bt709 -colorspace bt709",
     "mkv"},
    {"mpeg2video_422", "-c:v mpeg2video -g 8 -q:v 3 -pix_fmt yuv422p", "mpg"},
    {"mpeg1video", "-c:v mpeg1video -g 8 -bf 2 -q:v 3", "mpg"},
    {"msmpeg4v2", "-c:v msmpeg4v2 -g 8 -q:v 3", "avi"},
    {"msmpeg4", "-c:v msmpeg4 -g 8 -q:v 3", "avi"},
    {"wmv1", "-c:v wmv1 -g 8 -q:v 3", "wmv"},
    {"wmv2", "-c:v wmv2 -g 8 -q:v 3", "wmv"},
    {"h261", "-c:v h261 -g 8", "avi", "352x288"},
    {"h263", "-c:v h263 -g 8", "avi", "176x144"},
    {"h263_3gp", "-c:v h263 -g 8", "3gp", "176x144"},
    {"h263p", "-c:v h263p -g 8 -umv 1 -aiv 1", "avi"},
    {"flv1", "-c:v flv -g 8", "flv"},
    {"theora", "-c:v libtheora -g 8 -q:v 5", "ogv"},
    {"mjpeg", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", "avi"},
    {"mjpeg_optimal", "-c:v mjpeg -q:v 3 -huffman optimal -pix_fmt yuvj420p", "mkv"},
    {"ljpeg", "-c:v ljpeg -threads 1 -strict -1", "avi"},
    {"amv", "-c:v amv -strict -1 -pix_fmt yuvj420p", "avi"},
    {"jpeg2000", "-c:v jpeg2000", "mkv"},
    {"prores", "-c:v prores_ks", "mov"},
    {"dnxhd", "-c:v dnxhd -profile:v dnxhr_lb -pix_fmt yuv422p", "mov", "256x128"},
    {"dvvideo", "-c:v dvvideo -pix_fmt yuv420p -r 25", "avi", "720x576"},
    {"ffv1", "-c:v ffv1 -g 8", "mkv"},
    {"ffv1_level1", "-c:v ffv1 -level 1 -context 1 -g 8", "avi"},
    {"ffvhuff", "-c:v ffvhuff -context 1", "avi"},
    {"huffyuv", "-c:v huffyuv", "avi"},
    {"utvideo", "-c:v utvideo", "avi"},
    {"magicyuv", "-c:v magicyuv", "avi"},
    {"asv1", "-c:v asv1", "avi"},
    {"asv2", "-c:v asv2", "avi"},
    {"snow", "-c:v snow -strict -2 -g 8 -q:v 3", "avi"},
    {"svq1", "-c:v svq1 -g 8", "mov"},
    {"cinepak", "-c:v cinepak -g 8", "avi"},
    {"msvideo1", "-c:v msvideo1 -g 8", "avi"},
    {"smc", "-c:v smc -g 8", "mov"},
    {"qtrle", "-c:v qtrle -g 8", "mov"},
    {"qtrle_grey", "-c:v qtrle -g 8 -pix_fmt gray", "mov"},
    {"flashsv", "-c:v flashsv -g 8", "flv"},
    {"flashsv2", "-c:v flashsv2 -g 8", "flv"},
    {"zmbv", "-c:v zmbv -g 8", "avi"},
    {"zlib", "-c:v zlib", "avi"},
    {"rv10", "-c:v rv10 -g 8", "rm", "176x144"},
    {"rv20", "-c:v rv20 -g 8", "rm", "176x144"},
    {"png", "-c:v png", "mov"},
    {"png_palette", "-c:v png -pix_fmt pal8", "avi"},
    {"rawvideo", "-c:v rawvideo -pix_fmt yuv420p", "avi"},
    {"rawvideo_palette", "-c:v rawvideo -pix_fmt pal8", "avi"},
    {"rawvideo_nut", "-c:v rawvideo -pix_fmt pal8", "nut"},
    {"bmp", "-c:v bmp", "avi"},
    {"targa", "-c:v targa", "mov"},
    {"tiff", "-c:v tiff", "mov"},
    {"sgi", "-c:v sgi", "mov"},
    {"v210", "-c:v v210", "mov"},
    {"r210", "-c:v r210", "mov"},
    {"v308", "-c:v v308", "mov"},
    {"v410", "-c:v v410", "mov"},
    {"vc2", "-c:v vc2 -pix_fmt yuv420p", "mkv"},
    {"cfhd", "-c:v cfhd -pix_fmt yuv422p10le", "mov"},
    {"hap", "-c:v hap", "mov"},
    {"speedhq", "-c:v speedhq -pix_fmt yuv420p", "nut"},
};

std::string clip_of(const Encoder& encoder, const char* source = "testsrc2") {
  return make_clip(fmt::format("-f lavfi -i {}=size={}:rate=25 -frames:v 26 {}", source,
                               encoder.size, encoder.arguments),
                   encoder.extension);
}

class FreshSession : public ::testing::TestWithParam<Encoder> {};

TEST_P(FreshSession, EqualsAUsedOneAndAFullPass) {
  const std::string path = clip_of(GetParam());
  ASSERT_EQ(full_pass(path).frames.size(), 26u);
  expect_same_everywhere(path, {clip_of(GetParam(), "mandelbrot"), clip_of(kEncoders[0])}, 3);
}

std::ostream& operator<<(std::ostream& out, const Encoder& encoder) { return out << encoder.name; }

INSTANTIATE_TEST_SUITE_P(All, FreshSession, ::testing::ValuesIn(kEncoders),
                         [](const auto& encoder) { return std::string(encoder.param.name); });

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A copy of `path` in which x264's own words name another build, as often as they are there.
std::string with_build(const std::string& path, const std::string& build, const std::string& to) {
  std::string bytes = read_file(path);
  const std::string words = "x264 - core ";
  std::size_t found = 0;
  for (auto at = bytes.find(words); at != std::string::npos; at = bytes.find(words, at + 1)) {
    bytes.replace(at + words.size(), 3, build);
    ++found;
  }
  if (found == 0) throw std::runtime_error("no x264 in " + path);
  std::ofstream(to, std::ios::binary) << bytes;
  return to;
}

/// A clip that decodes without an error, and to other pixels, as a work of an old build.
std::string lossless(int frames, const char* extension) {
  return make_clip(
      fmt::format("-f lavfi -i mandelbrot=size=96x64:rate=25 -frames:v {} -c:v libx264 -g 8 -bf 2 "
                  "-qp 0 -pix_fmt yuv444p -x264-params cabac=0",
                  frames),
      extension);
}

// FFmpeg imitates what x264 before build 151 did wrong in lossless 4:4:4. Only the first packet
// names the build.
TEST(FreshSessions, OldBuildsOfX264AreToldToSessionsThatStartLater) {
  const ScratchDir scratch;
  const std::string now = lossless(40, "mp4");
  const std::string old = with_build(now, "142", scratch / "old.mp4");
  const auto right = full_pass(now), imitated = full_pass(old);
  ASSERT_TRUE(right.frames != imitated.frames) << "the build makes no difference";
  ASSERT_EQ(imitated.total.errors, 0u);
  EXPECT_EQ(imitated.frames.size(), oracle_frames(old).size());
  expect_same_everywhere(old, {now}, 3);
  expect_same_everywhere(now, {old}, 3);
  expect_same_everywhere(old, {}, 3);
}

/// The colours that frames say they have.
class ColourSink final : public FrameSink {
 public:
  Result<void> frame(const AVFrame& frame, const WantedFrame&, bool) override {
    seen.insert(frame.colorspace);
    return {};
  }
  std::set<AVColorSpace> seen;
};

// The stream's own headers have no word of it, so it is the container's; the rest is the same.
TEST(FreshSessions, ColoursThatTheContainerTellsAreNotThoseOfTheVideoBefore) {
  const std::string path = make_test_clip("-c:v libx264 -g 8 -pix_fmt yuv420p", 16, "mp4", "96x64");
  const auto decoder = make_cpu_decoder();
  for (const AVColorSpace space : {AVCOL_SPC_BT709, AVCOL_SPC_SMPTE170M, AVCOL_SPC_BT709}) {
    auto video = open_video(path);
    ASSERT_TRUE(video);
    video->plan_units({Window{0, {0, 1}}});
    auto unit = video->next_unit(false);
    ASSERT_TRUE(unit && *unit);
    auto told = std::make_shared<StreamParameters>();
    told->codec.reset(avcodec_parameters_alloc());
    ASSERT_GE(avcodec_parameters_copy(told->codec.get(), (*unit)->parameters->codec.get()), 0);
    told->codec->color_space = space;
    told->time_base = (*unit)->parameters->time_base;
    (*unit)->parameters = told;
    ColourSink sink;
    ASSERT_TRUE(decoder->decode(**unit, sink, {}));
    EXPECT_EQ(sink.seen, std::set<AVColorSpace>{space});
  }
}

// Two streams in one: each part is right with its own build only.
TEST(FreshSessions, StreamsOfSeveralBuildsStartWhereOneIsNamed) {
  const ScratchDir scratch;
  const std::string now = lossless(24, "h264");
  const std::string old = with_build(now, "142", scratch / "old.h264");
  for (const bool old_first : {true, false}) {
    const std::string both = scratch / fmt::format("both{}.h264", old_first);
    std::ofstream(both, std::ios::binary)
        << read_file(old_first ? old : now) << read_file(old_first ? now : old);
    const std::string path = scratch / fmt::format("both{}.ts", old_first);
    run_command(fmt::format("ffmpeg -y -v error -framerate 25 -i {} -c copy {}", both, path));
    expect_same_everywhere(path, {now, old}, 3);
  }
}

TEST(FreshSessions, SharedVideosEqualAFullPass) {
  const auto videos = shared_videos();
  if (videos.empty()) GTEST_SKIP() << "no shared media";
  std::mt19937_64 random(test_seed());
  std::vector<std::string> paths;
  for (const SharedVideo& shared : videos) {
    auto video = open_video(shared.path);
    // The short run takes some of them, others each time.
    if (video && video->facts().frame_count <= 1000 && random() % (rounds(20) > 1 ? 1 : 4) == 0)
      paths.push_back(shared.path);
  }
  ASSERT_FALSE(paths.empty());
  for (const std::string& path : paths) {
    const auto count = open_video(path)->facts().frame_count;
    const auto stride =
        std::max<std::int64_t>(2, count / static_cast<std::int64_t>(3 + rounds(20)));
    expect_same_everywhere(path, {paths[random() % paths.size()], paths[random() % paths.size()]},
                           stride);
  }
}

}  // namespace
}  // namespace shardreel::testing
