#include "loader/decode/session_bytes.h"

#include "loader/decode/session_need.h"
#include "loader/media/av_handles.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/pixdesc.h>
}

namespace shardreel {

Result<std::optional<std::uint64_t>> session_bytes(const VideoKind& kind) {
  const AVCodecDescriptor* codec = avcodec_descriptor_get_by_name(kind.codec.c_str());
  if (codec == nullptr || codec->type != AVMEDIA_TYPE_VIDEO) {
    return Error{.code = ErrorCode::kInvalidOption,
                 .message = "no video codec is called '" + kind.codec +
                            "'; expected a name of FFmpeg's, such as h264, hevc, vp9, av1"};
  }
  StreamParameters parameters;
  parameters.codec.reset(avcodec_parameters_alloc());
  if (!parameters.codec) return Error{.code = ErrorCode::kMemory, .message = "describing a video"};
  parameters.codec->codec_type = AVMEDIA_TYPE_VIDEO;
  parameters.codec->codec_id = codec->id;
  parameters.codec->width = static_cast<int>(kind.width);
  parameters.codec->height = static_cast<int>(kind.height);
  parameters.codec->format = av_get_pix_fmt(kind.pixel_format.c_str());
  const auto need = session_need(parameters);
  if (!need) return std::optional<std::uint64_t>();
  return std::optional(need->bytes);
}

}  // namespace shardreel
