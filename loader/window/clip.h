#pragma once
// A clip: the owning pixels of one window. Nothing in it can refer to a decoder's frame or a video.

#include <cstdint>
#include <optional>
#include <span>

#include "loader/device/device_clips.h"
#include "loader/memory/block_pool.h"
#include "loader/memory/memory_budget.h"
#include "shardreel/batch.h"
#include "shardreel/error.h"

namespace shardreel {

/// [T, H, W, C] uint8 in one block of the clip pool, or on a device, with its reservation and
/// facts. Move-only.
struct Clip {
  ClipInfo info;
  Reservation reservation;  // before the block, so that it dies after it
  Block pixels;             ///< whole pages; the tensor is its first T * slot_bytes bytes
  /// Where the pixels are instead; the reservation is for the block that they may come down to.
  std::optional<DeviceClip> on_device;

  /// What the shuffle counts: the block and the fields that travel along.
  [[nodiscard]] std::uint64_t item_bytes() const { return reservation.bytes(); }
};

/// What became of a planned clip: itself, or why not.
struct ClipResult {
  std::optional<Clip> clip;
  std::optional<Error> lost;
  bool padded = false;  ///< frames were missing and short_policy filled them in
};

}  // namespace shardreel
