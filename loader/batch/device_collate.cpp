#include "loader/batch/device_collate.h"

#include <cstring>
#include <utility>
#include <vector>

#include "loader/batch/collate.h"
#include "loader/media/pixel_plan.h"

namespace shardreel {
namespace {

/// The steps of a clip's elements in a batch.
CollateJob shape_of(const TransformOptions& options, std::uint32_t num_frames) {
  const bool rgb = options.color == ColorMode::kRgb;
  CollateJob job;
  job.type = pixel_type(options.dtype);
  job.channels = rgb ? 3 : 1;
  job.frames = num_frames;
  // yuv420 is one channel of planes, one below the other.
  job.pixels = std::int64_t{options.width} * options.height;
  if (options.color == ColorMode::kYuv420) job.pixels = job.pixels * 3 / 2;
  switch (rgb ? options.layout : Layout::kThwc) {
    case Layout::kThwc:
      job.frame_step = job.pixels * job.channels;
      job.pixel_step = job.channels;
      job.channel_step = 1;
      break;
    case Layout::kTchw:
      job.frame_step = job.pixels * job.channels;
      job.pixel_step = 1;
      job.channel_step = job.pixels;
      break;
    case Layout::kCthw:
      job.frame_step = job.pixels;
      job.pixel_step = 1;
      job.channel_step = job.pixels * job.frames;
      break;
  }
  return job;
}

}  // namespace

Result<DeviceCollate> DeviceCollate::make(Device& device, const std::shared_ptr<Stream>& stream,
                                          const TransformOptions& options,
                                          std::uint32_t num_frames) {
  DeviceCollate made;
  made.job_ = shape_of(options, num_frames);
  made.keeps_bytes_ =
      made.job_.type == PixelType::kUint8 && made.job_.pixel_step == made.job_.channels;
  const std::vector<std::byte> values = value_tables(options);
  if (values.empty()) return made;
  auto pinned = device.allocate_pinned(values.size());
  if (!pinned) return pinned.error();
  auto table = device.allocate(values.size(), stream);
  if (!table) return table.error();
  std::memcpy((*pinned)->data(), values.data(), values.size());
  if (auto done = stream->copy(table->data(), (*pinned)->data(), values.size()); !done)
    return done.error();
  if (auto done = stream->synchronize(); !done) return done.error();
  made.table_ = std::move(*table);
  made.job_.table = made.table_.data();
  return made;
}

Result<void> DeviceCollate::put(Stream& stream, const void* clip, void* place) const {
  if (keeps_bytes_) {
    return stream.copy(place, clip,
                       static_cast<std::size_t>(job_.frames * job_.pixels * job_.channels));
  }
  CollateJob job = job_;
  job.clip = static_cast<const std::uint8_t*>(clip);
  job.place = place;
  return stream.collate(job);
}

}  // namespace shardreel
