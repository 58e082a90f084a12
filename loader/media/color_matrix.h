#pragma once
// From the components of a frame to the components of a slot: one affine map, in double precision
// here, in 16-bit integers in the row kernels.

#include <array>
#include <cstdint>

#include "loader/media/component_rows.h"
#include "shardreel/options.h"

struct AVFrame;

namespace shardreel {

/// out[o] = sum over i of factor[o][i] * in[i] + offset[o]: `in` are code values of the component's
/// own depth, `out` is on the scale 0..255, not yet rounded or clamped.
struct AffineMap {
  int inputs = 3, outputs = 3;
  std::array<std::array<double, 3>, 3> factor{};
  std::array<double, 3> offset{};
};

/// What the frame's samples mean, resolved from its tags and, where they are missing, by the rule
/// of docs/pixels.md.
struct ColorTags {
  bool full_range = false;
  bool ycgco = false;
  double kr = 0.299, kb = 0.114;  ///< luma weights of red and blue
  friend bool operator==(const ColorTags&, const ColorTags&) = default;
};

[[nodiscard]] ColorTags color_tags(const AVFrame& frame, const PixelLayout& layout);

/// To red, green, blue, 0..255.
[[nodiscard]] AffineMap map_to_rgb(const PixelLayout& layout, const ColorTags& tags);
/// To luma expanded to 0..255.
[[nodiscard]] AffineMap map_to_gray(const PixelLayout& layout, const ColorTags& tags);
/// To 8-bit Y (component 0), Cb (1) or Cr (2). YUV keeps its own matrix and range; gray gets chroma
/// 128; RGB becomes limited range.
[[nodiscard]] AffineMap map_to_yuv(const PixelLayout& layout, const ColorTags& tags, int component);
/// Black in Y of `map_to_yuv`.
[[nodiscard]] std::uint8_t black_luma(const PixelLayout& layout, const ColorTags& tags);

}  // namespace shardreel
