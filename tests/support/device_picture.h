#pragma once
// A frame converted by the arithmetic that devices run, and what goes with it.

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "loader/batch/collate.h"
#include "loader/device/device.h"
#include "loader/media/av_handles.h"
#include "loader/media/component_rows.h"
#include "loader/media/pixel_plan.h"

extern "C" {
#include <libavutil/frame.h>
}

namespace shardreel::testing {

/// A conversion whose tables are on the host.
struct HostPicture {
  PixelPlan plan;
  std::vector<std::byte> tables, values;

  static HostPicture make(const AVFrame& frame, const FrameGeometry& geometry,
                          const TransformOptions& options) {
    const PixelLayout layout = pixel_layout(frame.format).value();
    HostPicture picture{PixelPlan::make(frame, layout, geometry, options).value(), {}, {}};
    picture.tables.assign(picture.plan.tables().begin(), picture.plan.tables().end());
    picture.values = value_tables(options);
    return picture;
  }
  [[nodiscard]] std::vector<PixelJob> jobs(const AVFrame& frame, const ClipPlace& place) const {
    return plan.jobs(frame, tables.data(), values.data(), place);
  }
};

/// Run jobs here and now.
inline void run_here(std::span<const PixelJob> jobs) {
  for (const PixelJob& job : jobs) {
    for (std::int32_t y = 0; y < job.height; ++y) {
      for (std::int32_t x = 0; x < job.width; ++x) convert_pixel(job, x, y);
    }
  }
}

/// Convert a frame the whole way on a device: planes and tables up by pinned memory, the
/// conversion, the slot back. The device's own addresses only.
inline std::vector<std::uint8_t> convert_on(Device& device, const AVFrame& frame,
                                            const FrameGeometry& geometry,
                                            const TransformOptions& options,
                                            std::size_t slot_bytes) {
  auto stream = device.make_stream().value();
  const HostPicture picture = HostPicture::make(frame, geometry, options);
  std::vector<std::unique_ptr<PinnedBuffer>> staging;
  std::vector<DeviceBuffer> blocks;
  const auto up = [&](const void* from, std::size_t bytes) {
    staging.push_back(device.allocate_pinned(std::max<std::size_t>(bytes, 1)).value());
    if (bytes > 0) std::memcpy(staging.back()->data(), from, bytes);
    blocks.push_back(device.allocate(std::max<std::size_t>(bytes, 1), stream).value());
    stream->copy(blocks.back().data(), staging.back()->data(), bytes).value();
    return blocks.back().data();
  };
  AVFramePtr there(av_frame_clone(&frame));
  for (std::size_t p = 0; p < AV_NUM_DATA_POINTERS && frame.buf[p] != nullptr; ++p) {
    auto* block = static_cast<std::uint8_t*>(up(frame.buf[p]->data, frame.buf[p]->size));
    for (std::size_t d = 0; d < AV_NUM_DATA_POINTERS; ++d) {
      const std::uint8_t* begin = frame.buf[p]->data;
      if (frame.data[d] != nullptr && frame.data[d] >= begin &&
          frame.data[d] < begin + frame.buf[p]->size) {
        there->data[d] = block + (frame.data[d] - begin);
      }
    }
  }
  const auto* tables =
      static_cast<const std::byte*>(up(picture.tables.data(), picture.tables.size()));
  const void* values = up(picture.values.data(), picture.values.size());
  DeviceBuffer slot = device.allocate(slot_bytes, stream).value();
  auto back = device.allocate_pinned(slot_bytes).value();
  for (const PixelJob& job : picture.plan.jobs(*there, tables, values, {slot.data(), 0, 1}))
    stream->convert(job).value();
  stream->copy(back->data(), slot.data(), slot_bytes).value();
  stream->synchronize().value();
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(back->data());
  return {bytes, bytes + slot_bytes};
}

}  // namespace shardreel::testing
