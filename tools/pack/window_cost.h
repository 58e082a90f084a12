#pragma once
// What a random clip of a video costs to decode, computed from its packets.

#include <cstdint>

namespace shardreel {
class PacketIndex;
}

namespace shardreel::tools {

/// Means over all windows of `window_frames` consecutive frames, each as likely as the other.
struct WindowCost {
  std::int64_t window_frames = 0;  ///< fewer than asked for where the video is shorter
  /// Frames decoded by this loader: from the keyframe that decoding has to start at to the window's
  /// last frame, without those that nothing needs.
  double decoded_frames = 0;
  /// The same for a reader that decodes everything in between.
  double plain_decoded_frames = 0;
};

/// Compute the cost exactly. Takes time in proportion to packets * window_frames.
WindowCost window_cost(const PacketIndex& index, std::int64_t window_frames = 16);

}  // namespace shardreel::tools
