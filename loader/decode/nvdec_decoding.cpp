// In builds with CUDA.
#include <utility>

#include "loader/decode/device_decoding.h"
#include "loader/decode/nvdec_decoder.h"
#include "loader/media/device_frame_converter.h"

namespace shardreel {

Result<DeviceDecoding> open_device_decoding(const std::shared_ptr<Device>& device,
                                            const TransformOptions& options, std::size_t slots) {
  auto stream = device->make_stream();
  if (!stream) return stream.error();
  auto nvdec = NvdecDevice::open(device, *stream);
  if (!nvdec) return nvdec.error();
  auto converter = make_device_frame_converter(device, *stream, &nvdec_layout, options, slots);
  if (!converter) return converter.error();
  auto ready = device->make_event();
  if (!ready) return ready.error();
  DeviceWay way;
  way.make = [nvdec = std::move(*nvdec), stream = *stream]() -> Result<SessionDecoder> {
    return SessionDecoder{make_nvdec_decoder(nvdec), stream};
  };
  way.reads = std::move(*stream);
  way.ready = std::move(*ready);
  return DeviceDecoding{std::move(way), std::move(*converter)};
}

}  // namespace shardreel
