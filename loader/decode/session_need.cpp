#include "loader/decode/session_need.h"

#include <fmt/format.h>

extern "C" {
#include <libavutil/pixdesc.h>
}

namespace shardreel {
namespace {

// Surfaces that libavcodec's CUDA decoders add to the pictures a codec refers to, and what a
// session takes besides surfaces (docs/gpu.md).
constexpr std::uint64_t kMoreSurfaces = 5;
constexpr std::uint64_t kSessionBytes = std::uint64_t{64} << 20;

/// Pictures that a decoder keeps for reference and reordering; nothing where no device decodes it.
std::optional<std::uint64_t> reference_pictures(const AVCodecParameters& codec) {
  switch (codec.codec_id) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC: return 16;
    case AV_CODEC_ID_VP9: return 8;
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_MPEG1VIDEO:
    case AV_CODEC_ID_MPEG2VIDEO:
    case AV_CODEC_ID_MPEG4:
    case AV_CODEC_ID_VC1: return 3;
    // FFmpeg 5.1's own AV1 decoder has no software path to fall back to, and dav1d no hwaccel.
    default: return std::nullopt;
  }
}

std::uint64_t aligned(int side) { return (static_cast<std::uint64_t>(side) + 15) / 16 * 16; }

}  // namespace

std::optional<SessionNeed> session_need(const StreamParameters& parameters) {
  const AVCodecParameters& codec = *parameters.codec;
  const auto pictures = reference_pictures(codec);
  if (!pictures || codec.width <= 0 || codec.height <= 0) return std::nullopt;
  const auto format = static_cast<AVPixelFormat>(codec.format);
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(format);
  const bool deep = descriptor != nullptr && descriptor->comp[0].depth > 8;
  const char* name = av_get_pix_fmt_name(format);
  SessionNeed need;
  need.kind =
      fmt::format("{} profile {} {} {}x{}", avcodec_get_name(codec.codec_id), codec.profile,
                  name != nullptr ? name : "unknown", aligned(codec.width), aligned(codec.height));
  need.parameters =
      fmt::format("{} {}x{} tag {} level {} delay {} build {} colours {} {} {} {} {} ", need.kind,
                  codec.width, codec.height, codec.codec_tag, codec.level, codec.video_delay,
                  parameters.x264_build, static_cast<int>(codec.color_range),
                  static_cast<int>(codec.color_primaries), static_cast<int>(codec.color_trc),
                  static_cast<int>(codec.color_space), static_cast<int>(codec.chroma_location));
  if (codec.extradata_size > 0)
    need.parameters.append(reinterpret_cast<const char*>(codec.extradata),
                           static_cast<std::size_t>(codec.extradata_size));
  // As many surfaces to decode into as to read from, of 1.5 samples a pixel.
  const std::uint64_t surface =
      aligned(codec.width) * aligned(codec.height) * 3 / 2 * (deep ? 2 : 1);
  need.bytes = 2 * (*pictures + kMoreSurfaces) * surface + kSessionBytes;
  return need;
}

}  // namespace shardreel
