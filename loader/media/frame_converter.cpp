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

#include "loader/media/color_matrix.h"
#include "loader/media/component_rows.h"
#include "loader/media/frame_regions.h"
#include "loader/media/plane_scaler.h"
#include "loader/media/strip_converter.h"
#include "loader/media/strip_kernels.h"

namespace shardreel {
namespace {

SourcePlane in_place(const ComponentRows& rows) {
  return {rows.data(),
          rows.stride(),
          rows.width(),
          rows.height(),
          static_cast<int>(rows.sample_bytes()),
          rows.sample_depth()};
}

SourcePlane in_memory(const Plane& plane) {
  return {reinterpret_cast<const std::uint8_t*>(plane.row(0)),
          static_cast<std::ptrdiff_t>(plane.stride_bytes()),
          plane.width(),
          plane.height(),
          2,
          16};
}

/// Samples that lie in memory as they are go straight to the strip converter. For others, and for
/// ratios beyond its filters, zimg scales to a plane of 16-bit samples first; the strip converter
/// then only maps and lays them out.
class StripFrameConverter final : public FrameConverter {
 public:
  explicit StripFrameConverter(const TransformOptions& options) : options_(options) {}

  Result<void> convert(const AVFrame& frame, const FrameGeometry& geometry,
                       std::span<std::byte> slot) override;

  [[nodiscard]] std::uint64_t scratch_bytes() const noexcept override {
    std::uint64_t total = scaler_.scratch_bytes() + strips_.scratch_bytes();
    for (const Plane& plane : scaled_) total += plane.capacity();
    return total;
  }

 private:
  /// A frame and where the crop lies in it.
  struct Source {
    const AVFrame& frame;
    const PixelLayout& layout;
    const FrameGeometry& geometry;
  };

  Result<void> convert_checked(const Source& source, std::uint8_t* slot);
  /// Scale the components from `first` on, as many as `map` has inputs, to width x height; map and
  /// write them as the geometry says.
  Result<void> write(const Source& source, int first, std::uint32_t width, std::uint32_t height,
                     const AffineMap& map, StripTarget target);

  TransformOptions options_;
  PlaneScaler scaler_;
  StripConverter strips_;
  std::array<Plane, 3> scaled_;
};

Result<void> StripFrameConverter::convert(const AVFrame& frame, const FrameGeometry& geometry,
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
    return convert_checked({frame, *layout, geometry},
                           reinterpret_cast<std::uint8_t*>(slot.data()));
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kMemory,
                 fmt::format("converting a {}x{} frame: out of memory", width, height)};
  }
}

Result<void> StripFrameConverter::convert_checked(const Source& source, std::uint8_t* slot) {
  const auto& [frame, layout, geometry] = source;
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
    return write(source, 0, scaled_width, scaled_height, map,
                 {slot + at * channels, width * channels});
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
  for (int component = 0; component < 3; ++component) {
    const std::uint32_t half = component == 0 ? 0 : 1;
    const AffineMap map = map_to_yuv(layout, tags, component);
    const int first = layout.family == ColorFamily::kYuv ? component : 0;
    StripTarget target{slot + at, width};
    if (component > 0) {
      const std::size_t plane = static_cast<std::size_t>(component - 1);
      target = {chroma + plane * chroma_width * chroma_height + chroma_at, chroma_width};
    }
    auto written = write(source, first, (scaled_width + half) >> half,
                         (scaled_height + half) >> half, map, target);
    if (!written) return written;
  }
  return {};
}

Result<void> StripFrameConverter::write(const Source& source, int first, std::uint32_t width,
                                        std::uint32_t height, const AffineMap& map,
                                        StripTarget target) {
  const auto count = static_cast<std::size_t>(map.inputs);
  std::array<StripInput, 3> inputs;
  std::array<int, 3> depth{};
  for (std::size_t i = 0; i < count; ++i) {
    const int component = first + static_cast<int>(i);
    depth[i] = source.layout.depth[static_cast<std::size_t>(component)];
    const ComponentRows rows(source.frame, source.layout, component);
    const Region region = region_of(source.frame, source.layout, component, source.geometry);
    if (rows.direct() && StripConverter::takes(region, width, height)) {
      inputs[i] = {in_place(rows), region};
      continue;
    }
    Plane& plane = scaled_[i];
    plane.resize(width, height);
    auto scaled = scaler_.scale(rows, region, plane);
    if (!scaled) return scaled;
    inputs[i] = {in_memory(plane), {0, 0, static_cast<double>(width), static_cast<double>(height)}};
  }
  strips_.convert(std::span(inputs).first(count), width, height, turn_of(source.geometry),
                  integer_map(map, depth), target);
  return {};
}

}  // namespace

std::unique_ptr<FrameConverter> make_frame_converter(const TransformOptions& options) {
  return std::make_unique<StripFrameConverter>(options);
}

std::uint64_t converter_scratch_bytes(std::uint32_t coded_width, std::uint32_t coded_height,
                                      const TransformOptions& options) {
  // The longer side may be either way round.
  const std::uint64_t side = std::max(options.width, options.height);
  const std::uint64_t planes = 3 * std::max(Plane::bytes(options.width, options.height),
                                            Plane::bytes(options.height, options.width));
  const std::uint64_t smallest = options.resize_mode == ResizeMode::kFit
                                     ? 1
                                     : std::max(1U, std::min(options.width, options.height) / 2);
  return planes + PlaneScaler::scratch_bound(coded_width, coded_height, smallest, side) +
         StripConverter::scratch_bound(coded_width, coded_height, side);
}

}  // namespace shardreel
