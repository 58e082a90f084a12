#include "loader/media/picture_file.h"

#include <fmt/format.h>

#include <cstring>

#include "loader/media/av_error.h"
#include "loader/media/av_handles.h"

extern "C" {
#include <libavutil/imgutils.h>
}

namespace shardreel {
namespace {

Error failed(int number) {
  return av_failure(ErrorCode::kInternal, "encode a PNG picture", number);
}

}  // namespace

Result<std::string> encode_png(std::span<const std::byte> rgb, std::uint32_t width,
                               std::uint32_t height) {
  const std::uint64_t row = std::uint64_t{width} * 3;
  if (width == 0 || height == 0 || rgb.size() != row * height ||
      av_image_check_size2(width, height, INT64_MAX, AV_PIX_FMT_RGB24, 0, nullptr) < 0)
    return Error{.code = ErrorCode::kInvalidOption,
                 .message = fmt::format("no PNG of {}x{} pixels can be made of {} bytes", width,
                                        height, rgb.size())};
  silence_av_log();
  const AVCodec* codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
  if (codec == nullptr)
    return Error{.code = ErrorCode::kUnsupported, .message = "FFmpeg has no PNG encoder"};
  const AVCodecContextPtr context(avcodec_alloc_context3(codec));
  const AVFramePtr frame(av_frame_alloc());
  const AVPacketPtr packet(av_packet_alloc());
  if (context == nullptr || frame == nullptr || packet == nullptr) return failed(AVERROR(ENOMEM));
  context->width = frame->width = static_cast<int>(width);
  context->height = frame->height = static_cast<int>(height);
  context->pix_fmt = AV_PIX_FMT_RGB24;
  frame->format = AV_PIX_FMT_RGB24;
  context->time_base = {1, 1};
  context->thread_count = 1;
  if (const int status = avcodec_open2(context.get(), codec, nullptr); status < 0)
    return failed(status);
  if (const int status = av_frame_get_buffer(frame.get(), 0); status < 0) return failed(status);
  for (std::uint32_t y = 0; y < height; ++y) {
    std::memcpy(frame->data[0] + static_cast<std::ptrdiff_t>(y) * frame->linesize[0],
                rgb.data() + y * row, row);
  }
  if (const int status = avcodec_send_frame(context.get(), frame.get()); status < 0)
    return failed(status);
  if (const int status = avcodec_receive_packet(context.get(), packet.get()); status < 0)
    return failed(status);
  return std::string(reinterpret_cast<const char*>(packet->data),
                     static_cast<std::size_t>(packet->size));
}

}  // namespace shardreel
