#include "tools/pack/picture_shape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

extern "C" {
#include <libavutil/pixdesc.h>
}

namespace shardreel::tools {
namespace {

const AVPixFmtDescriptor* descriptor(const AVFrame& frame) {
  return av_pix_fmt_desc_get(static_cast<AVPixelFormat>(frame.format));
}

bool is_rgb(const AVPixFmtDescriptor& format) {
  return (format.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0;
}

bool named_full_range(const AVFrame& frame) {
  const char* name = av_get_pix_fmt_name(static_cast<AVPixelFormat>(frame.format));
  return name != nullptr && std::string_view(name).starts_with("yuvj");
}

/// The rule of docs/pixels.md for untagged video.
bool holds_full_range(const AVFrame& frame) {
  return frame.color_range == AVCOL_RANGE_JPEG || named_full_range(frame);
}

int even(double size) { return std::max(2, static_cast<int>(std::lround(size / 2)) * 2); }

template <typename Tag>
Tag first_known(Tag of_frame, Tag of_stream, Tag unknown) {
  return of_frame != unknown ? of_frame : of_stream;
}

}  // namespace

Result<PictureShape> decide_shape(const TranscodeSpec& spec, const AVFrame& first,
                                  const AVStream& stream) {
  const AVCodecParameters& codec = *stream.codecpar;
  const AVPixFmtDescriptor* format = descriptor(first);
  if (format == nullptr || first.width < 2 || first.height < 2)
    return Error{ErrorCode::kUnsupported,
                 fmt::format("a picture of {}x{} has no even size", first.width, first.height),
                 {},
                 {},
                 {}};
  PictureShape shape;
  const int shorter = std::min(first.width, first.height);
  const int wanted = static_cast<int>(spec.short_side);
  if (wanted > 0 && (wanted < shorter || (wanted > shorter && spec.upscale))) {
    const double scale = static_cast<double>(wanted) / shorter;
    shape.width = even(first.width * scale);
    shape.height = even(first.height * scale);
  } else {
    shape.width = first.width & ~1;
    shape.height = first.height & ~1;
  }
  const int bits = format->comp[0].depth;
  const int depth = spec.depth > 0                                    ? spec.depth
                    : spec.codec != TranscodeCodec::kH264 && bits > 8 ? 10
                                                                      : 8;
  shape.format = depth == 10 ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P;
  shape.sample_aspect =
      stream.sample_aspect_ratio.num > 0 ? stream.sample_aspect_ratio : first.sample_aspect_ratio;
  shape.primaries =
      first_known(first.color_primaries, codec.color_primaries, AVCOL_PRI_UNSPECIFIED);
  shape.transfer = first_known(first.color_trc, codec.color_trc, AVCOL_TRC_UNSPECIFIED);
  shape.chroma =
      first_known(first.chroma_location, codec.chroma_location, AVCHROMA_LOC_UNSPECIFIED);
  if (is_rgb(*format)) {
    shape.range = AVCOL_RANGE_MPEG;
    shape.matrix = first.height >= 720 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
  } else {
    shape.range = first_known(first.color_range, codec.color_range, AVCOL_RANGE_UNSPECIFIED);
    if (named_full_range(first)) shape.range = AVCOL_RANGE_JPEG;
    shape.matrix = first_known(first.colorspace, codec.color_space, AVCOL_SPC_UNSPECIFIED);
  }
  return shape;
}

bool matches(const PictureShape& shape, const AVFrame& frame) {
  return frame.width == shape.width && frame.height == shape.height && frame.format == shape.format;
}

std::string shaping_filters(const PictureShape& shape, const AVFrame& frame) {
  std::string filters;
  // One odd row or column is cut off where nothing else is scaled: scaling by a pixel would blur
  // all.
  if (frame.width != shape.width || frame.height != shape.height) {
    if ((frame.width & ~1) == shape.width && (frame.height & ~1) == shape.height)
      filters = fmt::format("crop={}:{}:0:0:exact=1,", shape.width, shape.height);
  }
  const AVPixFmtDescriptor* format = descriptor(frame);
  const bool rgb = format != nullptr && is_rgb(*format);
  const bool full = holds_full_range(frame);
  const char* matrix = shape.matrix == AVCOL_SPC_SMPTE170M ? "smpte170m" : "bt709";
  filters += fmt::format(
      "scale=w={}:h={}:flags=bicubic+accurate_rnd+full_chroma_int+bitexact:in_range={}:out_range={}"
      ":in_color_matrix={}:out_color_matrix={},format={}",
      shape.width, shape.height, rgb || full ? "full" : "limited",
      full && !rgb ? "full" : "limited", rgb ? "auto" : matrix, matrix,
      av_get_pix_fmt_name(shape.format));
  return filters;
}

}  // namespace shardreel::tools
