#pragma once
// collate_clip where clip and batch are in a device's memory.

#include <cstdint>
#include <memory>

#include "loader/device/collate_job.h"
#include "loader/device/device.h"
#include "shardreel/options.h"

namespace shardreel {

/// Writes clips of one shape into places of batches, the same bytes that collate_clip writes.
/// Thread-safe once made.
class DeviceCollate {
 public:
  /// Puts its table there, and waits for that. kOutOfMemory.
  static Result<DeviceCollate> make(Device& device, const std::shared_ptr<Stream>& stream,
                                    const TransformOptions& options, std::uint32_t num_frames);

  /// Put the work into the line of `stream`; clip and place stay as they are until it was done.
  Result<void> put(Stream& stream, const void* clip, void* place) const;

 private:
  CollateJob job_;  // without addresses of clip and place
  bool keeps_bytes_ = false;
  DeviceBuffer table_;
};

}  // namespace shardreel
