#include "loader/media/color_matrix.h"

extern "C" {
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
}

#include <cmath>

namespace shardreel {
namespace {

/// Code value v of a component means (v - zero) * scale: luma and RGB in 0..255, chroma in
/// -127.5..127.5.
struct Scale {
  double zero = 0, scale = 1;
};

Scale luma_scale(int depth, bool full) {
  if (full) return {0, 255 / (std::ldexp(1, depth) - 1)};
  return {std::ldexp(16, depth - 8), 255 / std::ldexp(219, depth - 8)};
}

Scale chroma_scale(int depth, bool full) {
  const double zero = std::ldexp(1, depth - 1);
  return {zero, full ? 255 / (std::ldexp(1, depth) - 1) : 255 / std::ldexp(224, depth - 8)};
}

/// Apply each input's scale: fold (v - zero) * scale into factors and offsets.
AffineMap on_code_values(AffineMap map, const std::array<Scale, 3>& scales) {
  for (std::size_t o = 0; o < static_cast<std::size_t>(map.outputs); ++o) {
    for (std::size_t i = 0; i < static_cast<std::size_t>(map.inputs); ++i) {
      map.factor[o][i] *= scales[i].scale;
      map.offset[o] -= map.factor[o][i] * scales[i].zero;
    }
  }
  return map;
}

std::array<Scale, 3> scales_of(const PixelLayout& layout, const ColorTags& tags) {
  const bool chroma = layout.family == ColorFamily::kYuv;
  std::array<Scale, 3> scales;
  for (std::size_t c = 0; c < 3; ++c) {
    scales[c] = chroma && c > 0 ? chroma_scale(layout.depth[c], tags.full_range)
                                : luma_scale(layout.depth[c], tags.full_range);
  }
  return scales;
}

}  // namespace

ColorTags color_tags(const AVFrame& frame, const PixelLayout& layout) {
  ColorTags tags;
  tags.full_range = frame.color_range == AVCOL_RANGE_JPEG ||
                    (frame.color_range != AVCOL_RANGE_MPEG && layout.full_range);
  // What is above 240 or below 16 in a few bits is nothing that a limited range could mean.
  if (layout.depth[0] < 8) tags.full_range = true;
  const auto weights = [&](double kr, double kb) {
    tags.kr = kr;
    tags.kb = kb;
  };
  switch (frame.colorspace) {
    case AVCOL_SPC_BT709: weights(0.2126, 0.0722); break;
    case AVCOL_SPC_FCC: weights(0.30, 0.11); break;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M: weights(0.299, 0.114); break;
    case AVCOL_SPC_SMPTE240M: weights(0.212, 0.087); break;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL: weights(0.2627, 0.0593); break;
    case AVCOL_SPC_YCGCO: tags.ycgco = true; break;
    default: {
      const std::size_t lines =
          static_cast<std::size_t>(frame.height) - frame.crop_top - frame.crop_bottom;
      if (lines >= 720) weights(0.2126, 0.0722);
      break;
    }
  }
  return tags;
}

AffineMap map_to_rgb(const PixelLayout& layout, const ColorTags& tags) {
  AffineMap map;
  map.inputs = layout.components;
  const double kr = tags.kr, kb = tags.kb, kg = 1 - kr - kb;
  if (layout.family == ColorFamily::kGray) {
    map.factor = {{{1, 0, 0}, {1, 0, 0}, {1, 0, 0}}};
  } else if (layout.family == ColorFamily::kRgb) {
    map.factor = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  } else if (tags.ycgco) {  // planes are Y, Cg, Co
    map.factor = {{{1, -1, 1}, {1, 1, 0}, {1, -1, -1}}};
  } else {
    map.factor = {{{1, 0, 2 * (1 - kr)},
                   {1, -2 * (1 - kb) * kb / kg, -2 * (1 - kr) * kr / kg},
                   {1, 2 * (1 - kb), 0}}};
  }
  return on_code_values(map, scales_of(layout, tags));
}

AffineMap map_to_gray(const PixelLayout& layout, const ColorTags& tags) {
  AffineMap map;
  map.outputs = 1;
  map.inputs = layout.family == ColorFamily::kRgb ? 3 : 1;
  map.factor[0] = map.inputs == 3 ? std::array{tags.kr, 1 - tags.kr - tags.kb, tags.kb}
                                  : std::array{1.0, 0.0, 0.0};
  return on_code_values(map, scales_of(layout, tags));
}

AffineMap map_to_yuv(const PixelLayout& layout, const ColorTags& tags, int component) {
  const auto out = static_cast<std::size_t>(component);
  AffineMap map;
  map.outputs = 1;
  if (layout.family != ColorFamily::kRgb) {
    map.inputs = 1;
    if (layout.family == ColorFamily::kGray && component != 0) {
      map.offset[0] = 128;
      return map;
    }
    const int depth = layout.depth[out];
    const bool full = tags.full_range;
    const double keep = full ? 255 / (std::ldexp(1, depth) - 1) : std::ldexp(1, 8 - depth);
    map.factor[0][0] = keep;
    map.offset[0] = component == 0 ? 0 : 128 - keep * std::ldexp(1, depth - 1);
    return map;
  }
  const double kr = tags.kr, kb = tags.kb, kg = 1 - kr - kb;
  const double luma = 219.0 / 255, chroma = 224.0 / 255;
  const double cb = chroma / (2 * (1 - kb)), cr = chroma / (2 * (1 - kr));
  const std::array<std::array<double, 3>, 3> rows = {{{luma * kr, luma * kg, luma * kb},
                                                      {-cb * kr, -cb * kg, cb * (1 - kb)},
                                                      {cr * (1 - kr), -cr * kg, -cr * kb}}};
  map.factor[0] = rows[out];
  map.offset[0] = component == 0 ? 16 : 128;
  return on_code_values(map, scales_of(layout, tags));
}

std::uint8_t black_luma(const PixelLayout& layout, const ColorTags& tags) {
  return layout.family != ColorFamily::kRgb && tags.full_range ? 0 : 16;
}

}  // namespace shardreel
