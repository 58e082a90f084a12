#include "loader/media/component_rows.h"

extern "C" {
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
}

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace shardreel {
namespace {

static_assert(std::endian::native == std::endian::little, "words are read as they lie in memory");

std::uint32_t ceil_shift(std::uint32_t value, int shift) {
  return (value + (1U << shift) - 1) >> shift;
}

/// Every `step`-th byte or word, its `depth` bits moved to the top of 16.
template <typename T>
void read_packed(const std::uint8_t* from, std::size_t step, int shift, int depth,
                 std::size_t samples, std::uint16_t* to) {
  const auto mask = static_cast<std::uint32_t>((1U << depth) - 1);
  for (std::size_t x = 0; x < samples; ++x) {
    T raw;  // packed formats need not be aligned
    std::memcpy(&raw, from + x * step, sizeof raw);
    to[x] = static_cast<std::uint16_t>(((static_cast<std::uint32_t>(raw) >> shift) & mask)
                                       << (16 - depth));
  }
}

}  // namespace

Result<PixelLayout> pixel_layout(int format) {
  const AVPixFmtDescriptor* descriptor = av_pix_fmt_desc_get(static_cast<AVPixelFormat>(format));
  const auto unsupported = [&](const char* what) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("converting a frame of pixel format {}: {}",
                             descriptor != nullptr ? descriptor->name : "unknown", what)};
  };
  if (descriptor == nullptr) return unsupported("expected one that libavutil describes");
  constexpr std::uint64_t kForeign =
      AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BAYER | AV_PIX_FMT_FLAG_FLOAT;
  if ((descriptor->flags & kForeign) != 0 || descriptor->nb_components == 0 ||
      format == AV_PIX_FMT_XYZ12LE || format == AV_PIX_FMT_XYZ12BE) {
    return unsupported("expected integer YUV, gray or RGB in host memory");
  }
  PixelLayout layout;
  layout.descriptor = descriptor;
  if ((descriptor->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) != 0) {
    layout.family = ColorFamily::kRgb;
  } else if (descriptor->nb_components < 3) {
    layout.family = ColorFamily::kGray;
    layout.components = 1;
  }
  if ((descriptor->flags & AV_PIX_FMT_FLAG_PAL) == 0) {  // a palette has 8 bits each
    for (std::size_t c = 0; c < static_cast<std::size_t>(layout.components); ++c) {
      layout.depth[c] = descriptor->comp[c].depth;
    }
  }
  if (*std::max_element(layout.depth.begin(), layout.depth.end()) > 16) {
    return unsupported("expected at most 16 bits a component");
  }
  // One bit has no headroom; RGB is full unless tagged otherwise.
  layout.full_range = layout.family == ColorFamily::kRgb || layout.depth[0] == 1 ||
                      std::string_view(descriptor->name).starts_with("yuvj");
  return layout;
}

ComponentRows::ComponentRows(const AVFrame& frame, const PixelLayout& layout, int component)
    : frame_(frame), layout_(layout), component_(component) {
  const AVPixFmtDescriptor& descriptor = *layout.descriptor;
  const bool chroma = layout.family == ColorFamily::kYuv && component != 0;
  const int log2_w = chroma ? descriptor.log2_chroma_w : 0;
  const int log2_h = chroma ? descriptor.log2_chroma_h : 0;
  left_ = static_cast<std::uint32_t>(frame.crop_left) >> log2_w;
  top_ = static_cast<std::uint32_t>(frame.crop_top) >> log2_h;
  const auto width = static_cast<std::uint32_t>(frame.width) -
                     static_cast<std::uint32_t>(frame.crop_left + frame.crop_right);
  const auto height = static_cast<std::uint32_t>(frame.height) -
                      static_cast<std::uint32_t>(frame.crop_top + frame.crop_bottom);
  width_ = ceil_shift(width, log2_w);
  height_ = ceil_shift(height, log2_h);

  constexpr std::uint64_t kIrregular =
      AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_BE;
  const AVComponentDescriptor& place = descriptor.comp[component];
  const bool byte_order_matters = place.depth + place.shift > 8;
  regular_ =
      (descriptor.flags & kIrregular & ~(byte_order_matters ? 0U : AV_PIX_FMT_FLAG_BE)) == 0 &&
      place.depth + place.shift <= 16;
  if (!regular_) {
    sample_bytes_ = 2;
    sample_depth_ = 16;
    return;
  }
  step_ = place.step;
  shift_ = place.shift;
  stride_ = frame.linesize[place.plane];
  data_ = frame.data[place.plane] + place.offset + static_cast<std::ptrdiff_t>(top_) * stride_ +
          static_cast<std::ptrdiff_t>(left_) * step_;
  const int own_bytes = place.depth > 8 ? 2 : 1;
  direct_ = step_ == own_bytes && shift_ == 0 && place.depth >= 8;
  sample_bytes_ = direct_ ? static_cast<std::size_t>(own_bytes) : 2;
  sample_depth_ = direct_ ? place.depth : 16;
}

void ComponentRows::read(std::uint32_t row, std::uint32_t left, std::uint32_t right,
                         void* to) const noexcept {
  const std::size_t samples = right - left;
  auto* words = static_cast<std::uint16_t*>(to);
  if (regular_) {
    const std::uint8_t* from = data_ + static_cast<std::ptrdiff_t>(row) * stride_ +
                               static_cast<std::ptrdiff_t>(left) * step_;
    const int depth = layout_.depth[static_cast<std::size_t>(component_)];
    const auto step = static_cast<std::size_t>(step_);
    if (direct_) {
      std::memcpy(to, from, samples * sample_bytes_);
    } else if (depth + shift_ <= 8) {
      read_packed<std::uint8_t>(from, step, shift_, depth, samples, words);
    } else {
      read_packed<std::uint16_t>(from, step, shift_, depth, samples, words);
    }
    return;
  }
  const int x = static_cast<int>(left_ + left), y = static_cast<int>(top_ + row);
  if ((layout_.descriptor->flags & AV_PIX_FMT_FLAG_PAL) != 0) {
    // data[1] holds 256 words, alpha on top, then red, green, blue.
    const std::uint8_t* from =
        frame_.data[0] + static_cast<std::ptrdiff_t>(y) * frame_.linesize[0] + x;
    for (std::size_t i = 0; i < samples; ++i) {
      const std::uint8_t* color = frame_.data[1] + std::size_t{from[i]} * 4;
      words[i] = static_cast<std::uint16_t>(color[2 - component_] << 8);
    }
    return;
  }
  av_read_image_line2(words, const_cast<const std::uint8_t**>(frame_.data), frame_.linesize,
                      layout_.descriptor, x, y, component_, static_cast<int>(samples), 0, 2);
  const int depth = layout_.depth[static_cast<std::size_t>(component_)];
  const bool inverted = frame_.format == AV_PIX_FMT_MONOWHITE;
  for (std::size_t i = 0; i < samples; ++i) {
    words[i] = static_cast<std::uint16_t>((words[i] ^ (inverted ? 1U : 0U)) << (16 - depth));
  }
}

}  // namespace shardreel
