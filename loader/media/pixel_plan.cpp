#include "loader/media/pixel_plan.h"

extern "C" {
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
}

#include <fmt/format.h>

#include <cstring>

#include "loader/media/component_rows.h"
#include "loader/media/frame_regions.h"
#include "loader/media/side_filter.h"

namespace shardreel {
namespace {

Error not_for_devices(const AVPixFmtDescriptor& descriptor, std::string_view why) {
  return {ErrorCode::kUnsupported,
          fmt::format("converting {} frames on a device: {}", descriptor.name, why),
          {},
          {},
          {}};
}

/// Bytes or little-endian words in rows, which is what decoders on devices give.
bool plain_samples(const AVPixFmtDescriptor& descriptor, int components) {
  constexpr std::uint64_t kOdd = AV_PIX_FMT_FLAG_BE | AV_PIX_FMT_FLAG_PAL |
                                 AV_PIX_FMT_FLAG_BITSTREAM | AV_PIX_FMT_FLAG_FLOAT |
                                 AV_PIX_FMT_FLAG_BAYER;
  if ((descriptor.flags & kOdd) != 0) return false;
  for (int c = 0; c < components; ++c) {
    const AVComponentDescriptor& component = descriptor.comp[c];
    const int bits = component.depth + component.shift;
    if (component.depth < 8 || bits > 16 || (bits <= 8 && component.shift != 0)) return false;
  }
  return true;
}

}  // namespace

PixelType pixel_type(DType dtype) {
  return dtype == DType::kUint8     ? PixelType::kUint8
         : dtype == DType::kFloat16 ? PixelType::kFloat16
                                    : PixelType::kFloat32;
}

PixelPlan::Filter PixelPlan::add_filter(std::uint32_t from, std::uint32_t to, double left,
                                        double size, bool reversed) {
  SideFilter filter;
  filter.build({from, to, left, size, reversed});
  Filter added;
  added.count = filter.taps();
  added.first = tables_.size();
  const std::size_t first_bytes = to * sizeof(std::int32_t);
  const std::size_t weight_bytes =
      to * static_cast<std::size_t>(added.count) * sizeof(std::uint16_t);
  added.weights = added.first + first_bytes;
  tables_.resize((added.weights + weight_bytes + 3) / 4 * 4);
  std::memcpy(tables_.data() + added.first, filter.first(), first_bytes);
  std::memcpy(tables_.data() + added.weights, filter.weights(), weight_bytes);
  return added;
}

Result<void> PixelPlan::add_part(const AVFrame& frame, const PixelLayout& layout, int first,
                                 const AffineMap& map, const FrameGeometry& geometry, Part part,
                                 std::uint32_t half) {
  const AVPixFmtDescriptor& descriptor = *layout.descriptor;
  const Turn turn = turn_of(geometry);
  const std::uint32_t width = (geometry.scaled_width + half) >> half;
  const std::uint32_t height = (geometry.scaled_height + half) >> half;
  PixelJob& job = part.job;
  job.inputs = map.inputs;
  job.outputs = map.outputs;
  job.transpose = turn.transpose ? 1 : 0;
  job.left = static_cast<std::int32_t>(geometry.left >> half);
  job.top = static_cast<std::int32_t>(geometry.top >> half);
  job.picture_width = static_cast<std::int32_t>(turn.transpose ? height : width);
  job.picture_height = static_cast<std::int32_t>(turn.transpose ? width : height);
  for (std::size_t o = 0; o < 3; ++o) {
    job.offset[o] = static_cast<float>(map.offset[o]);
    for (std::size_t i = 0; i < 3; ++i) job.factor[o][i] = static_cast<float>(map.factor[o][i]);
  }
  for (int i = 0; i < map.inputs; ++i) {
    const int component = first + i;
    const AVComponentDescriptor& samples = descriptor.comp[component];
    const bool chroma = component > 0;
    const ComponentRows rows(frame, layout, component);
    const Region region = region_of(frame, layout, component, geometry);
    const FilterSpan along{rows.width(), width, region.left, region.width,
                           turn.transpose ? turn.reverse_rows : turn.reverse_columns};
    const FilterSpan down{rows.height(), height, region.top, region.height,
                          turn.transpose ? turn.reverse_columns : turn.reverse_rows};
    if (!SideFilter::takes(along) || !SideFilter::takes(down))
      return not_for_devices(descriptor, "the picture shrinks more than the filters reach");
    Input input;
    input.plane = samples.plane;
    input.rows =
        static_cast<std::ptrdiff_t>(frame.crop_top >> (chroma ? descriptor.log2_chroma_h : 0));
    input.bytes =
        static_cast<std::ptrdiff_t>(frame.crop_left >> (chroma ? descriptor.log2_chroma_w : 0)) *
            samples.step +
        samples.offset;
    input.step = samples.step;
    input.wide = samples.depth + samples.shift > 8 ? 1 : 0;
    input.shift = samples.shift;
    if (i == 2) {  // as the second component
      input.along = part.inputs[1].along;
      input.down = part.inputs[1].down;
    } else {
      input.along = add_filter(along.from, along.to, along.left, along.size, along.reversed);
      input.down = add_filter(down.from, down.to, down.left, down.size, down.reversed);
    }
    part.inputs.push_back(input);
  }
  parts_.push_back(std::move(part));
  return {};
}

Result<PixelPlan> PixelPlan::make(const AVFrame& frame, const PixelLayout& layout,
                                  const FrameGeometry& geometry, const TransformOptions& options) {
  if (layout.family == ColorFamily::kRgb || !plain_samples(*layout.descriptor, layout.components))
    return not_for_devices(*layout.descriptor, "expected planar or semi-planar YUV or gray");
  const ColorTags tags = color_tags(frame, layout);
  const auto width = static_cast<std::int64_t>(options.width);
  const auto height = static_cast<std::int64_t>(options.height);
  PixelPlan plan;
  plan.layout_ = options.layout;

  Part part;
  PixelJob& job = part.job;
  job.width = static_cast<std::int32_t>(width);
  job.height = static_cast<std::int32_t>(height);
  job.type = pixel_type(options.dtype);
  if (options.color != ColorMode::kYuv420) {
    const bool gray = options.color == ColorMode::kGray;
    const std::int64_t channels = gray ? 1 : 3;
    const bool interleaved = options.layout == Layout::kThwc;
    job.pixel_step = interleaved ? channels : 1;
    job.row_step = width * job.pixel_step;
    // Of CTHW, channels are as far apart as the clip is long: set when that is known.
    job.channel_step = interleaved ? 1 : width * height;
    plan.frame_step_ = width * height * (options.layout == Layout::kCthw ? 1 : channels);
    auto added =
        plan.add_part(frame, layout, 0, gray ? map_to_gray(layout, tags) : map_to_rgb(layout, tags),
                      geometry, std::move(part), 0);
    if (!added) return added.error();
    return plan;
  }

  const std::int64_t chroma_width = (width + 1) / 2, chroma_height = (height + 1) / 2;
  plan.frame_step_ = width * height + 2 * chroma_width * chroma_height;
  for (int component = 0; component < 3; ++component) {
    Part plane = part;
    plane.job.pixel_step = 1;
    plane.job.bars = component == 0 ? black_luma(layout, tags) : 128;
    if (component > 0) {
      plane.job.width = static_cast<std::int32_t>(chroma_width);
      plane.job.height = static_cast<std::int32_t>(chroma_height);
      plane.at = width * height + (component - 1) * chroma_width * chroma_height;
    }
    plane.job.row_step = plane.job.width;
    auto added = plan.add_part(frame, layout, layout.family == ColorFamily::kYuv ? component : 0,
                               map_to_yuv(layout, tags, component), geometry, std::move(plane),
                               component == 0 ? 0 : 1);
    if (!added) return added.error();
  }
  return plan;
}

std::vector<PixelJob> PixelPlan::jobs(const AVFrame& frame, const std::byte* tables,
                                      const void* values, const ClipPlace& place) const {
  const auto taps = [&](const Filter& filter) {
    return PixelTaps{reinterpret_cast<const std::int32_t*>(tables + filter.first),
                     reinterpret_cast<const std::uint16_t*>(tables + filter.weights), filter.count};
  };
  std::vector<PixelJob> jobs;
  for (const Part& part : parts_) {
    PixelJob job = part.job;
    for (std::size_t i = 0; i < part.inputs.size(); ++i) {
      const Input& input = part.inputs[i];
      const auto pitch = static_cast<std::ptrdiff_t>(frame.linesize[input.plane]);
      job.input[i].plane = {frame.data[input.plane] + input.rows * pitch + input.bytes, pitch,
                            input.step, input.wide, input.shift};
      job.input[i].along = taps(input.along);
      job.input[i].down = taps(input.down);
    }
    const std::int64_t at = part.at + frame_step_ * place.frame;
    const std::int64_t element = pixel_type_bytes(job.type);
    job.slot = static_cast<std::byte*>(place.clip) + at * element;
    if (layout_ == Layout::kCthw) job.channel_step = frame_step_ * place.num_frames;
    job.table = values;
    jobs.push_back(job);
  }
  return jobs;
}

}  // namespace shardreel
