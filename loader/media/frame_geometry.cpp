#include "loader/media/frame_geometry.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "loader/base/random.h"

namespace shardreel {
namespace {

/// A rectangle of the displayed picture.
struct Rect {
  double x = 0, y = 0, width = 0, height = 0;
};

/// The displayed picture in units in which a coded pixel measures whole numbers: where pixels are
/// square, 1 x 1. Below 2^48 for every picture that decoders take.
struct Display {
  std::uint64_t width = 0, height = 0;
  double pixel_width = 1, pixel_height = 1;
};

/// Shrink a rectangle, keeping its shape, until it fits inside; then place it by the draws.
Rect place(double width, double height, const Display& picture, const TransformDraws& draws) {
  const auto picture_width = static_cast<double>(picture.width);
  const auto picture_height = static_cast<double>(picture.height);
  const double shrink = std::min({1.0, picture_width / width, picture_height / height});
  // A very thin rectangle still covers a pixel, else scaling it would make a flat colour of noise.
  width = std::clamp(width * shrink, std::min(picture.pixel_width, picture_width), picture_width);
  height =
      std::clamp(height * shrink, std::min(picture.pixel_height, picture_height), picture_height);
  return {draws.crop_x * (picture_width - width), draws.crop_y * (picture_height - height), width,
          height};
}

Rect crop_of_display(const Display& picture, const TransformOptions& options,
                     const TransformDraws& draws) {
  const auto width = static_cast<double>(picture.width);
  const auto height = static_cast<double>(picture.height);
  if (options.crop == CropMode::kResized) {
    const double area =
        (options.crop_scale_min + draws.area * (options.crop_scale_max - options.crop_scale_min)) *
        width * height;
    const double low = std::log(options.crop_ratio_min);
    const double ratio = std::exp(low + draws.ratio * (std::log(options.crop_ratio_max) - low));
    return place(std::sqrt(area * ratio), std::sqrt(area / ratio), picture, draws);
  }
  if (options.resize_mode != ResizeMode::kShortSide) return {0, 0, width, height};
  const double out_width = options.width, out_height = options.height;
  // Products below 2^53 are exact in a double: both sides of the comparison are for every real
  // video, so a picture that has the output's shape is never cut.
  return width * out_height > height * out_width
             ? place(height * out_width / out_height, height, picture, draws)
             : place(width, width * out_height / out_width, picture, draws);
}

/// Length of the side that does not fill the output: round(out * side / other), even where asked.
std::uint32_t fitted(std::uint32_t out, std::uint64_t side, std::uint64_t other, bool even) {
  const std::uint64_t unit = even ? 2 : 1;
  const std::uint64_t rounded = (2 * std::uint64_t{out} * side + unit * other) / (2 * unit * other);
  return static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(rounded * unit, std::min<std::uint64_t>(unit, out), out));
}

}  // namespace

TransformDraws draw_transform(const TransformOptions& options, std::uint64_t seed,
                              const ClipId& id) {
  const auto draw = [&](Purpose purpose) {
    return unit_interval(keyed_hash(seed, purpose, {id.epoch, id.shard, id.sample, id.window}));
  };
  TransformDraws draws;
  if (options.crop != CropMode::kCenter) {
    draws.crop_x = draw(Purpose::kCropX);
    draws.crop_y = draw(Purpose::kCropY);
  }
  if (options.crop == CropMode::kResized) {
    draws.area = draw(Purpose::kCropArea);
    draws.ratio = draw(Purpose::kCropRatio);
  }
  draws.flip = draw(Purpose::kFlip) < options.flip;
  return draws;
}

FrameGeometry frame_geometry(std::uint32_t coded_width, std::uint32_t coded_height,
                             const Orientation& orientation, const TransformOptions& options,
                             const TransformDraws& draws) {
  const bool sideways = orientation.quarter_turns % 2 != 0;
  const bool square = options.sample_aspect == SampleAspect::kIgnore;
  const std::uint32_t pixel_width = square ? 1 : orientation.pixel_width;
  const std::uint32_t pixel_height = square ? 1 : orientation.pixel_height;
  Display display{std::uint64_t{coded_width} * pixel_width,
                  std::uint64_t{coded_height} * pixel_height, static_cast<double>(pixel_width),
                  static_cast<double>(pixel_height)};
  if (sideways) {
    std::swap(display.width, display.height);
    std::swap(display.pixel_width, display.pixel_height);
  }
  FrameGeometry geometry;
  geometry.quarter_turns = orientation.quarter_turns % 4;
  geometry.mirror = orientation.mirror;
  geometry.flip = draws.flip;
  if (coded_width == 0 || coded_height == 0) return geometry;

  std::uint32_t out_width = options.width, out_height = options.height;
  if (options.resize_mode == ResizeMode::kFit && options.crop != CropMode::kResized) {
    const bool even = options.color == ColorMode::kYuv420;  // bars end where chroma samples end
    if (display.width * options.height > display.height * options.width) {
      out_height = fitted(options.width, display.height, display.width, even);
      out_height = std::min(out_height, options.height);
    } else {
      out_width = fitted(options.height, display.width, display.height, even);
      out_width = std::min(out_width, options.width);
    }
    const std::uint32_t mask = even ? ~std::uint32_t{1} : ~std::uint32_t{0};
    geometry.left = ((options.width - out_width) / 2) & mask;
    geometry.top = ((options.height - out_height) / 2) & mask;
  }
  geometry.scaled_width = sideways ? out_height : out_width;
  geometry.scaled_height = sideways ? out_width : out_height;

  // Back from the displayed to the coded picture: to its pixels, then undo the turn and the mirror.
  Rect shown = crop_of_display(display, options, draws);
  shown.x /= display.pixel_width;
  shown.width /= display.pixel_width;
  shown.y /= display.pixel_height;
  shown.height /= display.pixel_height;
  Rect coded = shown;
  if (sideways) std::swap(coded.width, coded.height);
  switch (geometry.quarter_turns) {
    case 1:
      coded.x = shown.y;
      coded.y = coded_height - shown.x - shown.width;
      break;
    case 2:
      coded.x = coded_width - shown.x - shown.width;
      coded.y = coded_height - shown.y - shown.height;
      break;
    case 3:
      coded.x = coded_width - shown.y - shown.height;
      coded.y = shown.x;
      break;
    default: break;
  }
  if (orientation.mirror) coded.x = coded_width - coded.x - coded.width;
  // Subtractions of fractions may leave a rectangle 1e-13 outside; put it back.
  geometry.crop_x = std::clamp(coded.x, 0.0, coded_width - coded.width);
  geometry.crop_y = std::clamp(coded.y, 0.0, coded_height - coded.height);
  geometry.crop_width = coded.width;
  geometry.crop_height = coded.height;
  return geometry;
}

std::uint64_t slot_bytes(const TransformOptions& options) {
  const std::uint64_t pixels = std::uint64_t{options.width} * options.height;
  switch (options.color) {
    case ColorMode::kRgb: return pixels * 3;
    case ColorMode::kGray: return pixels;
    case ColorMode::kYuv420: break;
  }
  const std::uint64_t chroma_width = (std::uint64_t{options.width} + 1) / 2;
  const std::uint64_t chroma_height = (std::uint64_t{options.height} + 1) / 2;
  return pixels + 2 * chroma_width * chroma_height;
}

}  // namespace shardreel
