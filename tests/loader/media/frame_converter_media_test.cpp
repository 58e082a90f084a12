// The converter on what decoders really give: tags, sizes and row layouts of real files.

#include <gtest/gtest.h>

#include <functional>

#include "loader/media/av_handles.h"
#include "loader/media/frame_converter.h"
#include "tests/support/pixel_reference.h"
#include "tests/support/test_media.h"

namespace shardreel {
namespace {

/// Call `use` for the first `count` frames of the best video stream; return how many there were.
int decode_some(const std::string& path, int count,
                const std::function<void(const AVFrame&)>& use) {
  AVFormatContext* opened = nullptr;
  if (avformat_open_input(&opened, path.c_str(), nullptr, nullptr) < 0) return 0;
  AVInputContextPtr input(opened);
  if (avformat_find_stream_info(input.get(), nullptr) < 0) return 0;
  const AVCodec* codec = nullptr;
  const int stream = av_find_best_stream(input.get(), AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
  if (stream < 0 || codec == nullptr) return 0;
  AVCodecContextPtr decoder(avcodec_alloc_context3(codec));
  avcodec_parameters_to_context(decoder.get(), input->streams[stream]->codecpar);
  decoder->thread_count = 1;
  if (avcodec_open2(decoder.get(), codec, nullptr) < 0) return 0;
  AVPacketPtr packet(av_packet_alloc());
  AVFramePtr frame(av_frame_alloc());
  int frames = 0;
  bool more = true;
  while (more && frames < count) {
    more = av_read_frame(input.get(), packet.get()) >= 0;
    const PacketScope scope(*packet);
    if (more && packet->stream_index != stream) continue;
    avcodec_send_packet(decoder.get(), more ? packet.get() : nullptr);
    while (frames < count && avcodec_receive_frame(decoder.get(), frame.get()) >= 0) {
      const FrameScope frame_scope(*frame);
      use(*frame);
      ++frames;
    }
  }
  return frames;
}

void expect_within_contract(const AVFrame& frame, const std::string& name) {
  for (const ColorMode color : {ColorMode::kRgb, ColorMode::kGray, ColorMode::kYuv420}) {
    TransformOptions options;
    options.color = color;
    options.crop = CropMode::kResized;
    const TransformDraws draws{0.3, 0.6, 0.5, 0.4, true};
    const FrameGeometry geometry =
        frame_geometry(static_cast<std::uint32_t>(frame.width),
                       static_cast<std::uint32_t>(frame.height), {1, false}, options, draws);
    std::vector<std::byte> slot(slot_bytes(options));
    const auto done = make_frame_converter(options)->convert(frame, geometry, slot);
    ASSERT_TRUE(done) << name << ": " << done.error().message;
    const auto difference =
        testing::compare_pixels({reinterpret_cast<const std::uint8_t*>(slot.data()), slot.size()},
                                testing::reference_slot(frame, geometry, options));
    EXPECT_TRUE(difference.within_contract()) << name << ": " << difference.describe();
  }
}

TEST(FrameConverterMedia, MadeClips) {
  const std::string clips[] = {
      testing::make_test_clip("-c:v libx264 -pix_fmt yuv420p", 4, "mp4"),
      testing::make_test_clip("-c:v libx264 -pix_fmt yuv422p10le", 4, "mp4", "350x242"),
      testing::make_test_clip("-c:v ffv1 -pix_fmt gbrp", 4, "mkv", "333x241"),
      testing::make_test_clip("-c:v mjpeg -pix_fmt yuvj444p", 4, "avi", "331x239"),
      testing::make_test_clip("-c:v libvpx-vp9 -pix_fmt yuv420p", 4, "webm", "321x181"),
      testing::make_test_clip("-c:v rawvideo -pix_fmt yuyv422", 4, "avi", "320x180"),
      testing::make_test_clip("-c:v png -pix_fmt rgb24", 4, "mov", "320x180"),
      testing::make_clip("-f lavfi -i mandelbrot=size=1280x720 -frames:v 2 -c:v libx264 "
                         "-pix_fmt yuv420p -color_range pc -colorspace bt709",
                         "mp4"),
  };
  for (const std::string& clip : clips) {
    EXPECT_GT(
        decode_some(clip, 2, [&](const AVFrame& frame) { expect_within_contract(frame, clip); }), 0)
        << clip;
  }
}

TEST(FrameConverterMedia, SharedVideos) {
  const auto videos = testing::shared_videos();
  if (videos.empty()) GTEST_SKIP() << "no shared media";
  int decoded = 0;
  for (const auto& video : videos) {
    if (video.category.find("encrypted") != std::string::npos) continue;
    decoded += decode_some(
        video.path, 1, [&](const AVFrame& frame) { expect_within_contract(frame, video.name); });
  }
  EXPECT_GT(decoded, 0);
}

}  // namespace
}  // namespace shardreel
