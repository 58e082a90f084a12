#include "loader/decode/h264_start.h"

#include <cstddef>

extern "C" {
#include <libavcodec/codec_par.h>
}

namespace shardreel {
namespace {

constexpr unsigned kIdrSlice = 5;
unsigned type_of(std::uint8_t header) { return header & 31U; }

/// Behind start codes, 00 00 01.
bool holds_idr_behind_codes(std::span<const std::uint8_t> data) {
  for (std::size_t i = 3; i < data.size(); ++i) {
    if (data[i - 3] == 0 && data[i - 2] == 0 && data[i - 1] == 1 && type_of(data[i]) == kIdrSlice)
      return true;
  }
  return false;
}

}  // namespace

bool holds_idr(std::span<const std::uint8_t> packet, const AVCodecParameters& parameters) {
  // avcC, version 1: NAL units follow their lengths.
  if (parameters.extradata_size < 7 || parameters.extradata[0] != 1)
    return holds_idr_behind_codes(packet);
  const std::size_t prefix = (parameters.extradata[4] & 3U) + 1U;
  while (packet.size() > prefix) {
    std::size_t size = 0;
    for (std::size_t i = 0; i < prefix; ++i) size = size << 8 | packet[i];
    packet = packet.subspan(prefix);
    if (size == 0 || size > packet.size()) return false;
    if (type_of(packet[0]) == kIdrSlice) return true;
    packet = packet.subspan(size);
  }
  return false;
}

}  // namespace shardreel
