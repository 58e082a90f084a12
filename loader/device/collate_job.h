#pragma once
// The arithmetic of a clip's way into its place in a batch where both are in a device's memory:
// layout and type. Written once, as in pixel_job.h. Plain C++17 for nvcc.

#include <cstdint>

#include "loader/device/pixel_job.h"

namespace shardreel {

/// A clip of bytes, [frames][pixels][channels] without gaps, into a place with these steps.
struct CollateJob {
  const std::uint8_t* clip = nullptr;
  std::int64_t frames = 0, pixels = 0;  ///< pixels of a frame
  std::int32_t channels = 3;

  PixelType type = PixelType::kUint8;
  /// What each of 256 values becomes, [channels][256] of the type; unused for kUint8.
  const void* table = nullptr;
  void* place = nullptr;
  std::int64_t frame_step = 0, pixel_step = 0, channel_step = 0;  ///< elements
};

/// Write all channels of the clip's pixel number `at`, below frames * pixels.
SHARDREEL_BOTH inline void collate_pixel(const CollateJob& job, std::int64_t at) {
  const std::uint8_t* from = job.clip + at * job.channels;
  std::int64_t to = at / job.pixels * job.frame_step + at % job.pixels * job.pixel_step;
  for (std::int32_t c = 0; c < job.channels; ++c, to += job.channel_step)
    store_value(job.type, job.table, job.place, to, c, from[c]);
}

}  // namespace shardreel
