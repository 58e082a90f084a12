#pragma once
// Which frames make which window: pure arithmetic on a video's frame count and times.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "shardreel/batch.h"
#include "shardreel/error.h"
#include "shardreel/options.h"

namespace shardreel {

/// The frame range of one clip-to-be.
struct Window {
  std::uint64_t ordinal = 0;  ///< among all windows the video has, chosen or not
  std::vector<std::int64_t>
      frames;  ///< [T] indices in display order; repeats where short_policy made it so
};

/// What window planning needs to know of a video.
struct VideoTimes {
  std::int64_t frame_count = 0;  ///< shown frames
  /// [frame_count] seconds, ascending; empty when the container has no times (then `fps` takes the
  /// frames as `fallback_fps` apart).
  std::span<const double> pts_seconds;
  double end_seconds = 0;  ///< when the last frame stops being shown
  double fallback_fps = 25;
};

/// How long one frame may stay shown where a video is sampled by time. A slide or a camera that
/// takes a picture every few minutes is within it; what goes beyond is a clock that was set while
/// the video was recorded, or times that are broken, and would make thousands of clips of one
/// picture.
inline constexpr double kMostSecondsShown = 300;

/// A frame that stays shown for longer, in seconds from the first frame on.
struct LongFrame {
  std::int64_t frame = 0;
  double begin = 0, end = 0;
};

/// The first frame of the video that stays shown longer than `kMostSecondsShown`, if there is one.
std::optional<LongFrame> find_long_frame(const VideoTimes& video);

/// Say which frame that is, and for how long it stays.
std::string describe(const LongFrame& frame);

/// Return the windows of a video in ascending order of their start, all or the `windows_per_video`
/// that `choice` picks (random: keyed by seed and the sample's identity, `id.window` ignored).
/// Empty when the video is too short and `short_policy` is drop. Every index lies in [0,
/// frame_count).
///
/// By frame: window k takes frames k * stride + i * frame_step. By time (`fps`): output instant j
/// is the first frame's time + j / fps and takes the frame shown then (the last one whose time is
/// not later, where a millionth of 1 / fps is not later: times are rounded fractions); window k
/// takes instants k * stride + i * frame_step, all of which must lie before `end_seconds`. The
/// first instant always counts. kLongFrame when one frame stays shown longer than
/// `kMostSecondsShown`, wherever the chosen windows lie, or when `fps` is so high that there are
/// more than 10^6 + 1000 * frame_count instants: the sample then gives no window, whatever
/// `short_policy`.
///
/// Uniform takes the middles of `windows_per_video` equal parts. A short video makes one window of
/// the frames (by time: instants) min(i * frame_step, last), with loop i * frame_step modulo their
/// number.
Result<std::vector<Window>> plan_windows(const VideoTimes& video, const WindowOptions& options,
                                         std::uint64_t seed, const ClipId& id);

/// How many windows `plan_windows` gives.
Result<std::uint64_t> count_windows(const VideoTimes& video, const WindowOptions& options);

}  // namespace shardreel
