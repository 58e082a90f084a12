#include "loader/media/frame_converter.h"

extern "C" {
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
}

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include "loader/media/color_matrix.h"
#include "loader/media/component_rows.h"
#include "loader/media/plane_scaler.h"
#include "loader/media/row_kernels.h"

namespace shardreel {
namespace {

/// The eight ways to lay a picture: output (x, y) is scaled (x, y), or (y, x) if `transpose`, after
/// the output's columns or rows were reversed.
struct Turn {
  bool transpose = false, reverse_columns = false, reverse_rows = false;
};

Turn turn_of(const FrameGeometry& geometry) {
  constexpr std::array<Turn, 4> kClockwise = {
      {{false, false, false}, {true, true, false}, {false, true, true}, {true, false, true}}};
  Turn turn = kClockwise[geometry.quarter_turns % 4];
  if (geometry.mirror) (turn.transpose ? turn.reverse_rows : turn.reverse_columns) ^= true;
  if (geometry.flip) turn.reverse_columns ^= true;
  return turn;
}

/// Copy with rows and columns exchanged, in tiles that stay in the first-level cache.
void transpose(const Plane& from, Plane& to) {
  to.resize(from.height(), from.width());
  constexpr std::uint32_t kTile = 16;
  for (std::uint32_t y = 0; y < to.height(); y += kTile) {
    for (std::uint32_t x = 0; x < to.width(); x += kTile) {
      const std::uint32_t bottom = std::min(y + kTile, to.height());
      const std::uint32_t right = std::min(x + kTile, to.width());
      for (std::uint32_t row = y; row < bottom; ++row) {
        std::uint16_t* out = to.row(row);
        for (std::uint32_t column = x; column < right; ++column) {
          out[column] = from.row(column)[row];
        }
      }
    }
  }
}

/// Shift of a subsampled component against luma along one axis, in its own samples: its sample i
/// lies on luma sample factor * i (first), between (centre) or on the last one.
double siting_shift(int log2, bool first, bool last) {
  const double cosited = 0.5 - 0.5 / (1 << log2);
  return first ? cosited : last ? -cosited : 0;
}

/// Where the crop lies in a component's samples.
Region region_of(const AVFrame& frame, const PixelLayout& layout, int component,
                 const FrameGeometry& geometry) {
  Region region{geometry.crop_x, geometry.crop_y, geometry.crop_width, geometry.crop_height};
  if (layout.family != ColorFamily::kYuv || component == 0) return region;
  const int log2_w = layout.descriptor->log2_chroma_w, log2_h = layout.descriptor->log2_chroma_h;
  const AVChromaLocation at = frame.chroma_location;
  const bool centre =
      at == AVCHROMA_LOC_CENTER || at == AVCHROMA_LOC_TOP || at == AVCHROMA_LOC_BOTTOM;
  const bool top = at == AVCHROMA_LOC_TOPLEFT || at == AVCHROMA_LOC_TOP;
  const bool bottom = at == AVCHROMA_LOC_BOTTOMLEFT || at == AVCHROMA_LOC_BOTTOM;
  const double factor_w = 1 << log2_w, factor_h = 1 << log2_h;
  return {region.left / factor_w + siting_shift(log2_w, !centre, false),
          region.top / factor_h + siting_shift(log2_h, top, bottom), region.width / factor_w,
          region.height / factor_h};
}

class ZimgFrameConverter final : public FrameConverter {
 public:
  explicit ZimgFrameConverter(const TransformOptions& options) : options_(options) {}

  Result<void> convert(const AVFrame& frame, const FrameGeometry& geometry,
                       std::span<std::byte> slot) override;

  [[nodiscard]] std::uint64_t scratch_bytes() const noexcept override {
    std::uint64_t total = scaler_.scratch_bytes() + reversed_.capacity();
    for (const Plane& plane : scaled_) total += plane.capacity();
    for (const Plane& plane : turned_) total += plane.capacity();
    return total;
  }

 private:
  /// Where in the slot a component (or all, interleaved) goes.
  struct Target {
    std::uint8_t* first;
    std::size_t stride;
  };

  Result<void> convert_checked(const AVFrame& frame, const PixelLayout& layout,
                               const FrameGeometry& geometry, std::uint8_t* slot);
  /// Scale components [first, first + count) to width x height.
  Result<void> scale(const AVFrame& frame, const PixelLayout& layout, const FrameGeometry& geometry,
                     int first, int count, std::uint32_t width, std::uint32_t height);
  /// Map the scaled planes to bytes and lay them as the geometry says.
  void write(const AffineMap& map, const std::array<int, 3>& depth, const FrameGeometry& geometry,
             Target target);

  TransformOptions options_;
  PlaneScaler scaler_;
  std::array<Plane, 3> scaled_, turned_;
  AlignedBuffer reversed_;
};

Result<void> ZimgFrameConverter::convert(const AVFrame& frame, const FrameGeometry& geometry,
                                         std::span<std::byte> slot) {
  auto layout = pixel_layout(frame.format);
  if (!layout) return layout.error();
  const bool sideways = geometry.quarter_turns % 2 != 0;
  const std::uint64_t shown_width = sideways ? geometry.scaled_height : geometry.scaled_width;
  const std::uint64_t shown_height = sideways ? geometry.scaled_width : geometry.scaled_height;
  const double width =
      static_cast<double>(frame.width) - static_cast<double>(frame.crop_left + frame.crop_right);
  const double height =
      static_cast<double>(frame.height) - static_cast<double>(frame.crop_top + frame.crop_bottom);
  constexpr double kRounding = 1e-6;
  if (!(width >= 1 && height >= 1 && geometry.crop_width > 0 && geometry.crop_height > 0 &&
        geometry.crop_x >= 0 && geometry.crop_y >= 0 &&
        geometry.crop_x + geometry.crop_width <= width + kRounding &&
        geometry.crop_y + geometry.crop_height <= height + kRounding) ||
      shown_width == 0 || shown_height == 0 || geometry.left + shown_width > options_.width ||
      geometry.top + shown_height > options_.height || slot.size() != slot_bytes(options_)) {
    return Error{
        ErrorCode::kInternal,
        fmt::format("converting a {}x{} frame: crop {}x{} at ({}, {}), scaled to {}x{}, in a slot "
                    "of {} bytes for {}x{}: expected a crop inside the frame and a picture inside "
                    "the slot",
                    width, height, geometry.crop_width, geometry.crop_height, geometry.crop_x,
                    geometry.crop_y, geometry.scaled_width, geometry.scaled_height, slot.size(),
                    options_.width, options_.height)};
  }
  try {
    return convert_checked(frame, *layout, geometry, reinterpret_cast<std::uint8_t*>(slot.data()));
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kMemory,
                 fmt::format("converting a {}x{} frame: out of memory", width, height)};
  }
}

Result<void> ZimgFrameConverter::convert_checked(const AVFrame& frame, const PixelLayout& layout,
                                                 const FrameGeometry& geometry,
                                                 std::uint8_t* slot) {
  const ColorTags tags = color_tags(frame, layout);
  const std::size_t width = options_.width, height = options_.height;
  const std::uint32_t scaled_width = geometry.scaled_width, scaled_height = geometry.scaled_height;
  const bool bars = std::uint64_t{scaled_width} * scaled_height < std::uint64_t{width} * height;
  const std::size_t at = geometry.top * width + geometry.left;

  if (options_.color != ColorMode::kYuv420) {
    const bool gray = options_.color == ColorMode::kGray;
    const std::size_t channels = gray ? 1 : 3;
    const AffineMap map = gray ? map_to_gray(layout, tags) : map_to_rgb(layout, tags);
    if (bars) std::memset(slot, 0, width * height * channels);
    auto scaled = scale(frame, layout, geometry, 0, map.inputs, scaled_width, scaled_height);
    if (!scaled) return scaled;
    write(map, layout.depth, geometry, {slot + at * channels, width * channels});
    return {};
  }

  // I420: chroma sits in the middle of its four pixels, so that it stays there however the picture
  // is turned.
  const std::size_t chroma_width = (width + 1) / 2, chroma_height = (height + 1) / 2;
  std::uint8_t* chroma = slot + width * height;
  if (bars) {
    std::memset(slot, black_luma(layout, tags), width * height);
    std::memset(chroma, 128, 2 * chroma_width * chroma_height);
  }
  const std::size_t chroma_at = geometry.top / 2 * chroma_width + geometry.left / 2;
  const bool rgb = layout.family == ColorFamily::kRgb;
  for (int component = 0; component < 3; ++component) {
    const std::uint32_t half = component == 0 ? 0 : 1;
    const AffineMap map = map_to_yuv(layout, tags, component);
    // RGB has all it needs for Cb and Cr from one scaling to half the size.
    const bool again = !rgb || component < 2;
    const int first = rgb || layout.family == ColorFamily::kGray ? 0 : component;
    if (again) {
      auto scaled = scale(frame, layout, geometry, first, rgb ? 3 : 1,
                          (scaled_width + half) >> half, (scaled_height + half) >> half);
      if (!scaled) return scaled;
    }
    std::array<int, 3> depth = layout.depth;
    if (!rgb) depth[0] = layout.depth[static_cast<std::size_t>(first)];
    Target target{slot + at, width};
    if (component > 0) {
      const std::size_t plane = static_cast<std::size_t>(component - 1);
      target = {chroma + plane * chroma_width * chroma_height + chroma_at, chroma_width};
    }
    write(map, depth, geometry, target);
  }
  return {};
}

Result<void> ZimgFrameConverter::scale(const AVFrame& frame, const PixelLayout& layout,
                                       const FrameGeometry& geometry, int first, int count,
                                       std::uint32_t width, std::uint32_t height) {
  for (int i = 0; i < count; ++i) {
    Plane& plane = scaled_[static_cast<std::size_t>(i)];
    plane.resize(width, height);
    const ComponentRows rows(frame, layout, first + i);
    auto done = scaler_.scale(rows, region_of(frame, layout, first + i, geometry), plane);
    if (!done) return done;
  }
  return {};
}

void ZimgFrameConverter::write(const AffineMap& map, const std::array<int, 3>& depth,
                               const FrameGeometry& geometry, Target target) {
  const Turn turn = turn_of(geometry);
  const auto inputs = static_cast<std::size_t>(map.inputs);
  std::array<const Plane*, 3> planes{};
  for (std::size_t i = 0; i < inputs; ++i) {
    planes[i] = &scaled_[i];
    if (turn.transpose) {
      transpose(scaled_[i], turned_[i]);
      planes[i] = &turned_[i];
    }
  }
  const std::uint32_t width = planes[0]->width(), height = planes[0]->height();
  std::uint16_t* reversed = nullptr;
  if (turn.reverse_columns) {
    reversed = reinterpret_cast<std::uint16_t*>(
        reversed_.reserve(std::size_t{width} * sizeof(std::uint16_t) * 3));
  }
  const IntegerMap integers = integer_map(map, depth);
  const RowKernel kernel = row_kernel(integers);
  for (std::uint32_t y = 0; y < height; ++y) {
    SampleRows rows{};
    for (std::size_t i = 0; i < inputs; ++i) {
      rows[i] = planes[i]->row(turn.reverse_rows ? height - 1 - y : y);
      if (turn.reverse_columns) {
        std::uint16_t* to = reversed + i * width;
        std::reverse_copy(rows[i], rows[i] + width, to);
        rows[i] = to;
      }
    }
    kernel(rows, width, integers, target.first + y * target.stride);
  }
}

}  // namespace

std::unique_ptr<FrameConverter> make_frame_converter(const TransformOptions& options) {
  return std::make_unique<ZimgFrameConverter>(options);
}

std::uint64_t converter_scratch_bytes(std::uint32_t coded_width, std::uint32_t coded_height,
                                      const TransformOptions& options) {
  // The longer side may be either way round.
  const std::uint64_t side = std::max(options.width, options.height);
  const std::uint64_t planes = 6 * std::max(Plane::bytes(options.width, options.height),
                                            Plane::bytes(options.height, options.width));
  const std::uint64_t smallest = options.resize_mode == ResizeMode::kFit
                                     ? 1
                                     : std::max(1U, std::min(options.width, options.height) / 2);
  return planes + side * sizeof(std::uint16_t) * 3 + AlignedBuffer::kAlignment +
         PlaneScaler::scratch_bound(coded_width, coded_height, smallest, side);
}

}  // namespace shardreel
