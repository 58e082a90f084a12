// The kernel that makes slots of decoded frames: bytes that it has to read and write in a second,
// over those of a copy inside the device.
extern "C" {
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
}
#include <cstring>

#include "benchmarks/gpu/gpu_bench.h"
#include "benchmarks/gpu/network.h"
#include "loader/device/device_registry.h"
#include "loader/media/av_handles.h"
#include "loader/media/component_rows.h"
#include "loader/media/pixel_plan.h"

namespace shardreel::gpu_bench {
namespace {

struct Case {
  AVPixelFormat format;
  int width, height;
};

/// Frames of one kind in device memory, more of them than its caches hold, as decoders leave them.
class Frames {
 public:
  Frames(Device& device, const std::shared_ptr<Stream>& stream, const Case& kind,
         std::uint64_t all_bytes) {
    const int sample = kind.format == AV_PIX_FMT_P010LE ? 2 : 1;
    const int pitch = (kind.width * sample + 511) / 512 * 512;
    const auto luma = static_cast<std::uint64_t>(pitch) * static_cast<std::uint64_t>(kind.height);
    read_bytes = static_cast<std::uint64_t>(kind.width * sample) *
                 static_cast<std::uint64_t>(kind.height) * 3 / 2;
    const std::uint64_t count = std::max<std::uint64_t>(2, all_bytes / (luma * 3 / 2));
    auto picture = device.allocate_pinned(luma * 3 / 2).value();
    for (std::uint64_t i = 0; i < picture->bytes(); ++i)
      picture->data()[i] = static_cast<std::byte>(16 + i * 7 % 200);
    for (std::uint64_t i = 0; i < count; ++i) {
      blocks_.push_back(device.allocate(luma * 3 / 2, stream).value());
      stream->copy(blocks_.back().data(), picture->data(), luma * 3 / 2).value();
      AVFramePtr frame(av_frame_alloc());
      frame->format = kind.format;
      frame->width = kind.width;
      frame->height = kind.height;
      frame->linesize[0] = frame->linesize[1] = pitch;
      frame->data[0] = static_cast<std::uint8_t*>(blocks_.back().data());
      frame->data[1] = frame->data[0] + luma;
      all.push_back(std::move(frame));
    }
    stream->synchronize().value();
  }
  std::vector<AVFramePtr> all;
  std::uint64_t read_bytes = 0;  ///< of one frame's samples

 private:
  std::vector<DeviceBuffer> blocks_;
};

/// Bytes that a second of conversions reads and writes.
double conversion_rate(Device& device, const Case& kind, const Settings& settings) {
  const auto stream = device.make_stream().value();
  const Frames frames(device, stream, kind, settings.copy_bytes / 2);
  TransformOptions options;
  options.resize_mode = ResizeMode::kStretch;
  const FrameGeometry geometry =
      frame_geometry(static_cast<std::uint32_t>(kind.width),
                     static_cast<std::uint32_t>(kind.height), {}, options, {});
  const PixelPlan plan =
      PixelPlan::make(*frames.all.front(), pixel_layout(kind.format).value(), geometry, options)
          .value();
  const auto tables = device.allocate_pinned(plan.tables().size()).value();
  std::memcpy(tables->data(), plan.tables().data(), plan.tables().size());
  const DeviceBuffer there = device.allocate(plan.tables().size(), stream).value();
  stream->copy(there.data(), tables->data(), plan.tables().size()).value();
  const std::uint64_t slot = slot_bytes(options);
  const DeviceBuffer slots = device.allocate(slot * frames.all.size(), stream).value();
  const auto run = [&] {
    for (int i = 0; i < settings.repeats; ++i) {
      const std::size_t at = static_cast<std::size_t>(i) % frames.all.size();
      const ClipPlace place{static_cast<std::byte*>(slots.data()) + at * slot, 0, 1};
      for (const PixelJob& job :
           plan.jobs(*frames.all[at], static_cast<const std::byte*>(there.data()), nullptr, place))
        stream->convert(job).value();
    }
    stream->synchronize().value();
  };
  run();
  const double bytes = static_cast<double>(frames.read_bytes + slot) * settings.repeats;
  return bytes / seconds_of(run);
}

/// Bytes that a second of copies inside the device reads and writes.
double copy_rate(std::uint64_t bytes) {
  constexpr int kCopies = 10;
  const OwnStream stream;
  const OwnMemory from(bytes), to(bytes);
  const auto run = [&] {
    for (int i = 0; i < kCopies; ++i) {
      check(cudaMemcpyAsync(to.get(), from.get(), bytes, cudaMemcpyDeviceToDevice, stream.get()),
            "copying inside the device");
    }
    stream.synchronize();
  };
  run();
  return 2.0 * static_cast<double>(bytes) * kCopies / seconds_of(run);
}

}  // namespace

Json measure_kernel(const Settings& settings) {
  const auto device = open_device({DeviceKind::kCuda, 0}).value();
  Json result;
  result["rounds"] = settings.rounds;
  result["to"] = "224x224 RGB, 8 bits";
  result["frames"] = Json::array();
  for (const Case& kind : {Case{AV_PIX_FMT_NV12, 1920, 1080}, Case{AV_PIX_FMT_P010LE, 1920, 1080},
                           Case{AV_PIX_FMT_NV12, 1280, 720}, Case{AV_PIX_FMT_NV12, 340, 256}}) {
    std::vector<double> of_kernel, of_copy, ratios;
    take_turns(settings.rounds, 2, [&](std::size_t which) {
      if (which == 0) {
        of_copy.push_back(copy_rate(settings.copy_bytes));
      } else {
        of_kernel.push_back(conversion_rate(*device, kind, settings));
      }
    });
    for (std::size_t i = 0; i < of_kernel.size(); ++i) ratios.push_back(of_kernel[i] / of_copy[i]);
    result["frames"].push_back(
        {{"from", std::string(av_get_pix_fmt_name(kind.format)) + " " + std::to_string(kind.width) +
                      "x" + std::to_string(kind.height)},
         {"kernel_bytes_per_second", spread(of_kernel)},
         {"copy_bytes_per_second", spread(of_copy)},
         {"kernel_over_copy", spread(ratios)}});
  }
  return result;
}

}  // namespace shardreel::gpu_bench
