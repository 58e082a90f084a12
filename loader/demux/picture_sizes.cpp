#include "loader/demux/picture_sizes.h"

#include <algorithm>
#include <array>

#include "loader/demux/bit_reader.h"

namespace shardreel {
namespace {

using Bytes = std::span<const std::uint8_t>;

/// A number of two bytes, the higher one first.
std::uint32_t number(Bytes bytes, std::size_t at) {
  return static_cast<std::uint32_t>(bytes[at] << 8 | bytes[at + 1]);
}

/// The frame header of a JPEG picture; an interlaced one has two, each of half the height.
PictureSize jpeg_size(Bytes data) {
  for (std::size_t i = 0; i + 1 < data.size();) {
    const unsigned marker = data[i + 1];
    if (data[i] != 0xff || marker == 0xff) {
      ++i;
      continue;
    }
    const bool frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    const bool alone = marker == 0 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd8);
    if (marker == 0xda || data.size() - i < 9) return {};
    if (frame || marker == 0xf7) return {number(data, i + 7), number(data, i + 5)};
    i += alone ? 2 : 2 + number(data, i + 2);
  }
  return {};
}

PictureSize png_size(Bytes data) {
  constexpr std::size_t kSize = 16;  // behind the signature, a length and "IHDR"
  if (data.size() < kSize + 8 || data[1] != 'P' || data[12] != 'I') return {};
  const auto side = [&](std::size_t at) { return number(data, at) << 16 | number(data, at + 2); };
  return {side(kSize), side(kSize + 4)};
}

/// Only keyframes tell; pictures between them are as large or smaller, in what encoders write.
PictureSize vp9_size(Bytes data) {
  BitReader bits(data);
  bits.bits(2);  // frame_marker
  const std::uint32_t profile = bits.bit() | (bits.bit() << 1);
  if (profile == 3) bits.bit();
  if (bits.bit() != 0 || bits.bit() != 0) return {};  // shown again, or no keyframe
  bits.bits(2);                                       // show_frame, error_resilient_mode
  if (bits.bits(24) != 0x498342) return {};
  if (profile >= 2) bits.bit();  // ten or twelve bits
  constexpr std::uint32_t kRgb = 7;
  if (bits.bits(3) != kRgb) {
    bits.bit();  // range
    if (profile % 2 == 1) bits.bits(3);
  } else if (profile % 2 == 1) {
    bits.bit();
  }
  const std::uint32_t width = bits.bits(16) + 1, height = bits.bits(16) + 1;
  return {width, height};
}

}  // namespace

PictureSizes::PictureSizes(const AVCodecParameters& codec) : codec_(codec.codec_id) {
  // Those whose parsers tell it right. (H.263's takes Sorenson's headers for its own.)
  constexpr std::array kParsed{AV_CODEC_ID_H264,      AV_CODEC_ID_HEVC,  AV_CODEC_ID_VP8,
                               AV_CODEC_ID_AV1,       AV_CODEC_ID_MPEG4, AV_CODEC_ID_MPEG1VIDEO,
                               AV_CODEC_ID_MPEG2VIDEO};
  if (std::ranges::find(kParsed, codec_) == kParsed.end()) return;
  context_.reset(avcodec_alloc_context3(nullptr));
  if (context_ == nullptr || avcodec_parameters_to_context(context_.get(), &codec) < 0) return;
  parser_ = av_parser_init(codec_);
  if (parser_ != nullptr) parser_->flags |= PARSER_FLAG_COMPLETE_FRAMES;
}

PictureSize PictureSizes::look(Bytes packet) {
  PictureSize told;
  switch (codec_) {
    case AV_CODEC_ID_MJPEG: told = jpeg_size(packet); break;
    case AV_CODEC_ID_PNG: told = png_size(packet); break;
    case AV_CODEC_ID_VP9: told = vp9_size(packet); break;
    default: told = ask_parser(packet);
  }
  if (told.width == 0 || told.height == 0) return now_;
  now_ = told;
  if (now_.pixels() > largest_.pixels()) largest_ = now_;
  return now_;
}

PictureSize PictureSizes::ask_parser(Bytes packet) {
  if (parser_ == nullptr || packet.empty() || packet.size() > INT32_MAX) return {};
  // Some parsers tell the size in their own fields, some in the context's, and there only the first
  // one that they find.
  context_->width = context_->height = context_->coded_width = context_->coded_height = 0;
  parser_->width = parser_->height = parser_->coded_width = parser_->coded_height = 0;
  std::uint8_t* out = nullptr;
  int out_size = 0;
  av_parser_parse2(parser_, context_.get(), &out, &out_size, packet.data(),
                   static_cast<int>(packet.size()), AV_NOPTS_VALUE, AV_NOPTS_VALUE, -1);
  const auto side = [](std::initializer_list<int> told) {
    return static_cast<std::uint32_t>(std::max(std::ranges::max(told), 0));
  };
  return {side({parser_->width, parser_->coded_width, context_->width, context_->coded_width}),
          side({parser_->height, parser_->coded_height, context_->height, context_->coded_height})};
}

}  // namespace shardreel
