#include "loader/demux/stream_facts.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

extern "C" {
#include <libavutil/imgutils.h>
}

namespace shardreel {
namespace {

// The decoder's own tables, measured over 340x256 to 1080p: a constant and a part per macroblock.
constexpr std::uint64_t kTableBytes = 1600 * 1024;
constexpr std::uint64_t kTableBytesPerMacroblock = 880;

/// Frames that H.264 lets a stream of this level hold (table A-1, MaxDpbMbs).
std::uint64_t h264_dpb_frames(int level, std::uint64_t macroblocks) {
  constexpr std::array<std::pair<int, std::uint64_t>, 17> kMaxDpbMbs{{{10, 396},
                                                                      {11, 900},
                                                                      {12, 2376},
                                                                      {20, 2376},
                                                                      {21, 4752},
                                                                      {22, 8100},
                                                                      {30, 8100},
                                                                      {31, 18000},
                                                                      {32, 20480},
                                                                      {40, 32768},
                                                                      {41, 32768},
                                                                      {42, 34816},
                                                                      {50, 110400},
                                                                      {51, 184320},
                                                                      {52, 184320},
                                                                      {60, 696320},
                                                                      {62, 696320}}};
  for (const auto& [top, blocks] : kMaxDpbMbs) {
    if (level > 0 && level <= top)
      return std::clamp<std::uint64_t>(blocks / std::max<std::uint64_t>(macroblocks, 1), 1, 16);
  }
  return 16;
}

/// Frames that HEVC lets a stream of this level hold (A.4.2), by the level's largest picture.
std::uint64_t hevc_dpb_frames(int level, std::uint64_t samples) {
  constexpr std::array<std::pair<int, std::uint64_t>, 8> kMaxLumaSamples{{{30, 36864},
                                                                          {60, 122880},
                                                                          {63, 245760},
                                                                          {90, 552960},
                                                                          {93, 983040},
                                                                          {123, 2228224},
                                                                          {156, 8912896},
                                                                          {186, 35651584}}};
  for (const auto& [top, most] : kMaxLumaSamples) {
    if (level <= 0 || level > top) continue;
    if (samples <= most / 4) return 16;
    if (samples <= most / 2) return 12;
    if (samples <= most / 4 * 3) return 8;
    return 6;
  }
  return 16;
}

int level_of(const AVCodecParameters& codec) {
  if (codec.level > 0) return codec.level;
  const std::uint8_t* extra = codec.extradata;
  if (codec.codec_id == AV_CODEC_ID_H264 && codec.extradata_size >= 4 && extra[0] == 1)
    return extra[3];
  if (codec.codec_id == AV_CODEC_ID_HEVC && codec.extradata_size >= 13 && extra[0] == 1)
    return extra[12];
  return 0;
}

std::uint64_t frames_in_flight(const AVCodecParameters& codec, int level, std::uint64_t macroblocks,
                               std::uint64_t samples, std::uint64_t reorder) {
  switch (codec.codec_id) {
    case AV_CODEC_ID_H264:
      // The picture buffer holds references and frames that wait for their turn; besides it, the
      // one being decoded and the one being taken.
      return std::min<std::uint64_t>(h264_dpb_frames(level, macroblocks) + reorder, 18) + 2;
    case AV_CODEC_ID_HEVC: return hevc_dpb_frames(level, samples) + 2;
    case AV_CODEC_ID_VP9: return 8 + 2;
    case AV_CODEC_ID_AV1: return 8 + 4;
    case AV_CODEC_ID_VP8: return 4 + 1;
    default: return 4;
  }
}

PictureSize told_size(const AVCodecParameters& codec) {
  const auto side = [](int length) { return static_cast<std::uint32_t>(std::max(length, 16)); };
  return {side(codec.width), side(codec.height)};
}

}  // namespace

std::uint64_t estimate_decoder_bytes(const AVCodecParameters& codec, PictureSize picture) {
  const std::uint64_t samples = picture.pixels();
  const std::uint64_t macroblocks = samples / 256;
  // Without probing the pixel format is not known: 8-bit 4:2:0 is assumed unless the profile says
  // more, which is right for nearly all videos and low by half at most for 10 bits.
  std::uint64_t bytes_x2 = 3;  // 1.5 bytes a pixel
  if (codec.format != AV_PIX_FMT_NONE) {
    const int measured =
        av_image_get_buffer_size(static_cast<AVPixelFormat>(codec.format), 64, 64, 1);
    if (measured > 0) bytes_x2 = (static_cast<std::uint64_t>(measured) * 2 + 4095) / 4096;
  } else if (const std::uint8_t* extra = codec.extradata;
             codec.codec_id == AV_CODEC_ID_H264 && codec.extradata_size >= 2 && extra[0] == 1) {
    if (extra[1] == 110) bytes_x2 = 6;   // High 10
    if (extra[1] == 122) bytes_x2 = 8;   // High 4:2:2 (10 bits)
    if (extra[1] == 244) bytes_x2 = 12;  // High 4:4:4
  } else if (codec.codec_id == AV_CODEC_ID_HEVC && codec.extradata_size >= 19 && extra[0] == 1) {
    const unsigned chroma = extra[16] & 3u, depth = 8 + (extra[17] & 7u);
    const std::uint64_t planes_x2 = chroma == 0 ? 2 : chroma == 1 ? 3 : chroma == 2 ? 4 : 6;
    bytes_x2 = planes_x2 * (depth > 8 ? 2 : 1);
  }
  const std::uint64_t frame = samples * bytes_x2 / 2 + 4096;
  const auto reorder = static_cast<std::uint64_t>(std::clamp(codec.video_delay, 0, 16));
  // The level is that of the container's size.
  const int level = samples > told_size(codec).pixels() ? 0 : level_of(codec);
  return frames_in_flight(codec, level, macroblocks, samples, reorder) * frame + kTableBytes +
         macroblocks * kTableBytesPerMacroblock;
}

DecodePlan plan_decoding(const AVCodecParameters& codec, PictureSize largest,
                         std::uint64_t most_bytes) {
  DecodePlan plan{told_size(codec), 0, most_bytes, false};
  if (largest.pixels() > plan.picture.pixels()) {
    plan.holds_larger = estimate_decoder_bytes(codec, largest) > most_bytes;
    if (!plan.holds_larger) plan.picture = largest;
  }
  plan.decoder_bytes = estimate_decoder_bytes(codec, plan.picture);
  return plan;
}

DisplayOrientation read_display_matrix(const std::int32_t* matrix) {
  if (matrix == nullptr) return {};
  // Row vectors: (x, y) goes to (a x + c y, b x + d y), y down.
  std::int64_t a = matrix[0], b = matrix[1];
  const std::int64_t c = matrix[3], d = matrix[4];
  const double determinant = static_cast<double>(a) * static_cast<double>(d) -
                             static_cast<double>(b) * static_cast<double>(c);
  if (determinant == 0) return {};
  DisplayOrientation orientation;
  orientation.mirror = determinant < 0;
  if (orientation.mirror) {
    a = -a;
    b = -b;
  }
  if (std::abs(a) >= std::abs(b))
    orientation.quarter_turns = a >= 0 ? 0 : 2;
  else
    orientation.quarter_turns = b >= 0 ? 1 : 3;
  return orientation;
}

}  // namespace shardreel
