#include "loader/device/copy_check.h"

#include <fmt/format.h>

#include "loader/device/collate_job.h"
#include "loader/device/pixel_job.h"

namespace shardreel {
namespace {

/// Whether these rows lie in the device's memory; false: in pinned memory.
Result<bool> on_device(const void* data, std::size_t stride, const CopyRows& rows,
                       std::string_view side, const AddressRanges& device,
                       const AddressRanges& pinned) {
  const std::uint64_t span = std::uint64_t{stride} * (rows.rows - 1) + rows.row_bytes;
  using Place = AddressRanges::Place;
  const Place there = device.place(data, span), here = pinned.place(data, span);
  if (there == Place::kInside || here == Place::kInside) return there == Place::kInside;
  return device_error(
      DeviceFault::kInvalid,
      fmt::format("copying {} rows of {} bytes, {} apart: the {} {}; expected a block of this "
                  "device, or pinned memory of it",
                  rows.rows, rows.row_bytes, stride, side,
                  there == Place::kAcross || here == Place::kAcross
                      ? "runs past the end of its block"
                      : "is no memory of this device"));
}

}  // namespace

Result<CopyKind> check_copy(const CopyRows& rows, const AddressRanges& device,
                            const AddressRanges& pinned) {
  if (rows.rows > 1 && (rows.to_stride < rows.row_bytes || rows.from_stride < rows.row_bytes)) {
    return device_error(DeviceFault::kInvalid,
                        fmt::format("copying rows of {} bytes, {} and {} apart: expected rows that "
                                    "do not overlap",
                                    rows.row_bytes, rows.from_stride, rows.to_stride));
  }
  const auto to = on_device(rows.to, rows.to_stride, rows, "target", device, pinned);
  if (!to) return to.error();
  const auto from = on_device(rows.from, rows.from_stride, rows, "source", device, pinned);
  if (!from) return from.error();
  if (!*to && !*from) {
    return device_error(DeviceFault::kInvalid,
                        "copying from host memory to host memory: expected a device on one side");
  }
  return *to ? (*from ? CopyKind::kInside : CopyKind::kToDevice) : CopyKind::kToHost;
}

Result<void> check_convert(const PixelJob& job, const AddressRanges& device) {
  const std::int64_t last = (job.width - 1) * job.pixel_step + (job.height - 1) * job.row_step +
                            (job.outputs - 1) * job.channel_step;
  const bool shaped = job.width > 0 && job.height > 0 && job.pixel_step > 0 && job.row_step > 0 &&
                      (job.outputs == 1 || (job.outputs == 3 && job.channel_step > 0)) &&
                      (job.inputs == 1 || job.inputs == 3);
  if (shaped &&
      device.place(job.slot, static_cast<std::uint64_t>((last + 1) * pixel_type_bytes(job.type))) ==
          AddressRanges::Place::kInside) {
    return {};
  }
  return device_error(
      DeviceFault::kInvalid,
      fmt::format("converting into a slot of {}x{}, {} channels: expected a slot inside a block of "
                  "this device",
                  job.width, job.height, job.outputs));
}

Result<void> check_collate(const CollateJob& job, const AddressRanges& device) {
  const std::int64_t last = (job.frames - 1) * job.frame_step + (job.pixels - 1) * job.pixel_step +
                            (job.channels - 1) * job.channel_step;
  const bool shaped = job.frames > 0 && job.pixels > 0 && job.frame_step > 0 &&
                      job.pixel_step > 0 &&
                      (job.channels == 1 || (job.channels == 3 && job.channel_step > 0)) &&
                      (job.type == PixelType::kUint8 || job.table != nullptr);
  const auto inside = [&device](const void* data, std::int64_t bytes) {
    return device.place(data, static_cast<std::uint64_t>(bytes)) == AddressRanges::Place::kInside;
  };
  if (shaped && inside(job.clip, job.frames * job.pixels * job.channels) &&
      inside(job.place, (last + 1) * pixel_type_bytes(job.type))) {
    return {};
  }
  return device_error(DeviceFault::kInvalid,
                      fmt::format("collating a clip of {} frames of {} pixels, {} channels: "
                                  "expected a clip and a place inside blocks of this device",
                                  job.frames, job.pixels, job.channels));
}

}  // namespace shardreel
