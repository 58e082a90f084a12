#pragma once
// Where a clip's pixels come from: crop, scale, rotation and flip as plain numbers, the same for
// every implementation.

#include <cstdint>

#include "shardreel/batch.h"
#include "shardreel/options.h"

namespace shardreel {

/// A clip's random choices, drawn once and then the same for all its frames. All in [0, 1).
struct TransformDraws {
  double crop_x = 0.5, crop_y = 0.5;  ///< position within the free range (0.5 = centre)
  double area = 0,
         ratio = 0;  ///< for crop = resized: position within the (scale, log ratio) ranges
  bool flip = false;
};

/// Draw a clip's random choices, keyed by (seed, id, purpose).
TransformDraws draw_transform(const TransformOptions& options, std::uint64_t seed,
                              const ClipId& id);

/// How one frame becomes one slot. Order of work: crop the coded picture, scale to (scaled_width,
/// scaled_height), rotate clockwise by `quarter_turns` * 90 degrees, flip horizontally, put at
/// (left, top) of the slot; the rest of the slot (resize_mode = fit) is black.
struct FrameGeometry {
  double crop_x = 0, crop_y = 0;  ///< of the coded picture (after the codec's own cropping), pixels
  double crop_width = 0, crop_height = 0;             ///< pixels, fractions allowed
  std::uint32_t scaled_width = 0, scaled_height = 0;  ///< before rotation
  std::uint32_t quarter_turns = 0;                    ///< 0..3, clockwise
  bool mirror = false;  ///< the display matrix mirrors (applied before rotation)
  bool flip = false;
  std::uint32_t left = 0, top = 0;  ///< in the slot
  friend bool operator==(const FrameGeometry&, const FrameGeometry&) = default;
};

/// How a stream's pictures are shown.
struct Orientation {
  std::uint32_t quarter_turns = 0;  ///< display matrix, clockwise
  bool mirror = false;              ///< horizontally, before the turn
  /// Shape of a coded pixel (the sample aspect ratio), each 1 to 2^16 - 1; it is turned too. Counts
  /// with `TransformOptions::sample_aspect` = apply.
  std::uint32_t pixel_width = 1, pixel_height = 1;
};

/// Return the geometry for frames of coded_width x coded_height; the crop is decided on the picture
/// as displayed.
FrameGeometry frame_geometry(std::uint32_t coded_width, std::uint32_t coded_height,
                             const Orientation& orientation, const TransformOptions& options,
                             const TransformDraws& draws);

/// Bytes of one frame in a clip: 3, 1 or 1.5 a pixel.
[[nodiscard]] std::uint64_t slot_bytes(const TransformOptions& options);

}  // namespace shardreel
