#include "loader/window/window_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "loader/base/random.h"

namespace shardreel {
namespace {

// All arithmetic is unsigned and checked before it is multiplied: options are 32 bits wide, so a
// product of two and a sum fit in 64 bits; a window's start stays below the number of positions.
using Position = std::uint64_t;  // a frame, or with `fps` an output instant

/// How much later than an instant a frame may start and still be shown at it, in units of the
/// instants' distance. Times are doubles made of fractions: frame 3 of a 30 fps video at 1/10 s
/// must meet instant 3 at fps = 30 although 3 / 30 may come out 1e-17 smaller.
constexpr double kInstantTolerance = 1e-6;

/// Up to here every instant is a double of its own.
constexpr double kMostExact = 9e15;

/// How long a frame may outlast `kMostSecondsShown`: times are rounded fractions here too.
constexpr double kSecondsTolerance = 1e-6;

/// The rate of a video without times.
double own_fps(const VideoTimes& video) { return video.fallback_fps > 0 ? video.fallback_fps : 25; }

Error too_long(std::string why) {
  return {ErrorCode::kLongFrame,
          std::move(why) + "; without fps the video is sampled by frame, whatever its times",
          {},
          {},
          {}};
}

/// Maps output instants to frames by display time.
class Instants {
 public:
  static Result<Instants> make(const VideoTimes& video, double fps) {
    if (const auto frame = find_long_frame(video)) {
      return too_long(fmt::format("{}; sampling at {} fps repeats a frame for {} s at most",
                                  describe(*frame), fps, kMostSecondsShown));
    }
    Instants instants(video, fps);
    const double end = instants.end();
    const double most = std::min(1e6 + 1e3 * static_cast<double>(video.frame_count), kMostExact);
    if (end > most) {
      return too_long(
          fmt::format("{} frames at {} fps make {:.0f} output frames, expected {:.0f} "
                      "at most",
                      video.frame_count, fps, std::ceil(end), most));
    }
    // The first instant shows the first frame even where a container claims no duration.
    const double count = std::ceil(end - kInstantTolerance);
    instants.count_ = count > 1 ? static_cast<Position>(count) : 1;
    return instants;
  }

  [[nodiscard]] Position count() const { return count_; }

  /// The last frame whose time is not later than the instant.
  [[nodiscard]] Position frame_at(Position instant) const {
    const double limit = static_cast<double>(instant) + kInstantTolerance;
    Position shown = 0, later = frame_count_;  // frame 0 is always shown; [later, …) never
    while (later - shown > 1) {
      const Position middle = shown + (later - shown) / 2;
      (start_of(middle) <= limit ? shown : later) = middle;
    }
    return shown;
  }

 private:
  Instants(const VideoTimes& video, double fps)
      : times_(video.pts_seconds),
        frame_count_(static_cast<Position>(video.frame_count)),
        end_seconds_(video.end_seconds),
        fps_(fps),
        instants_per_frame_(fps / own_fps(video)) {
    if (!times_.empty()) frame_count_ = std::min<Position>(frame_count_, times_.size());
  }

  /// When the last frame stops being shown, in instants.
  [[nodiscard]] double end() const {
    return times_.empty() ? static_cast<double>(frame_count_) * instants_per_frame_
                          : (end_seconds_ - times_[0]) * fps_;
  }

  /// When a frame starts to be shown, in instants.
  [[nodiscard]] double start_of(Position frame) const {
    return times_.empty() ? static_cast<double>(frame) * instants_per_frame_
                          : (times_[frame] - times_[0]) * fps_;
  }

  std::span<const double> times_;
  Position frame_count_;
  double end_seconds_;
  double fps_;
  double instants_per_frame_;  // without times
  Position count_ = 0;
};

/// Where the windows of a video lie.
struct WindowGrid {
  std::optional<Instants> instants;  ///< with `fps`
  Position positions = 0;            ///< frames or instants; 0 = no window at all
  std::uint64_t span = 0, stride = 0;

  [[nodiscard]] bool is_short() const { return positions < span; }
  [[nodiscard]] std::uint64_t count() const { return (positions - span) / stride + 1; }
};

Result<WindowGrid> make_grid(const VideoTimes& video, const WindowOptions& options) {
  WindowGrid grid;
  if (video.frame_count <= 0 || options.num_frames == 0) return grid;
  if (options.fps) {
    if (!(*options.fps > 0) || !std::isfinite(*options.fps)) return grid;
    auto instants = Instants::make(video, *options.fps);
    if (!instants) return std::move(instants.error());
    grid.instants = std::move(*instants);
  }
  grid.positions =
      grid.instants ? grid.instants->count() : static_cast<Position>(video.frame_count);
  const std::uint64_t num_frames = options.num_frames, step = options.frame_step;
  grid.span = (num_frames - 1) * step + 1;
  grid.stride = options.window_stride;
  if (grid.stride == 0)
    grid.stride = options.fps ? num_frames : num_frames * std::max<Position>(step, 1);
  return grid;
}

/// Return which of `count` windows to take, ascending; `wanted` < `count`.
std::vector<std::uint64_t> choose(std::uint64_t count, std::uint64_t wanted, WindowChoice choice,
                                  std::uint64_t seed, const ClipId& id) {
  std::vector<std::uint64_t> chosen;
  chosen.reserve(wanted);
  if (choice == WindowChoice::kUniform) {
    for (std::uint64_t i = 0; i < wanted; ++i) {
      // The middle of the i-th of `wanted` equal parts; 128 bits, as 2 * i * count may need 97.
      const auto middle = static_cast<unsigned __int128>(2 * i + 1) * count / (2 * wanted);
      chosen.push_back(static_cast<std::uint64_t>(middle));
    }
    return chosen;
  }
  // Floyd's sampling without replacement: `wanted` draws, never more, every subset equally likely,
  // and no list of all windows.
  std::set<std::uint64_t> taken;
  for (std::uint64_t i = count - wanted; i < count; ++i) {
    const std::uint64_t bits =
        keyed_hash(seed, Purpose::kWindowChoice, {id.epoch, id.shard, id.sample, i});
    const std::uint64_t drawn = bounded(bits, i + 1);
    taken.insert(taken.contains(drawn) ? i : drawn);
  }
  chosen.assign(taken.begin(), taken.end());
  return chosen;
}

}  // namespace

std::optional<LongFrame> find_long_frame(const VideoTimes& video) {
  const auto too_long = [](double begin, double end) {
    return end - begin > kMostSecondsShown + kSecondsTolerance;
  };
  const std::span<const double> times = video.pts_seconds;
  if (times.empty()) {
    const double shown = 1 / own_fps(video);
    if (video.frame_count <= 0 || !too_long(0, shown)) return std::nullopt;
    return LongFrame{0, 0, shown};
  }
  for (std::size_t i = 0; i < times.size(); ++i) {
    const double end = i + 1 < times.size() ? times[i + 1] : video.end_seconds;
    if (too_long(times[i], end))
      return LongFrame{static_cast<std::int64_t>(i), times[i] - times[0], end - times[0]};
  }
  return std::nullopt;
}

std::string describe(const LongFrame& frame) {
  return fmt::format("frame {} stays shown for {:.3f} s, from {:.3f} s to {:.3f} s", frame.frame,
                     frame.end - frame.begin, frame.begin, frame.end);
}

Result<std::uint64_t> count_windows(const VideoTimes& video, const WindowOptions& options) {
  const auto made = make_grid(video, options);
  if (!made) return made.error();
  const WindowGrid& grid = *made;
  constexpr std::uint64_t kNone = 0, kOne = 1;
  if (grid.positions == 0) return kNone;
  if (grid.is_short()) return options.short_policy == ShortPolicy::kDrop ? kNone : kOne;
  const std::uint64_t wanted = options.windows_per_video;
  return wanted == 0 ? grid.count() : std::min<std::uint64_t>(wanted, grid.count());
}

Result<std::vector<Window>> plan_windows(const VideoTimes& video, const WindowOptions& options,
                                         std::uint64_t seed, const ClipId& id) {
  const auto made = make_grid(video, options);
  if (!made) return made.error();
  const WindowGrid& grid = *made;
  if (grid.positions == 0) return std::vector<Window>();
  const std::uint64_t num_frames = options.num_frames, step = options.frame_step;

  const auto window_of = [&](std::uint64_t ordinal, auto position_of) {
    Window window;
    window.ordinal = ordinal;
    window.frames.reserve(num_frames);
    for (std::uint64_t i = 0; i < num_frames; ++i) {
      const Position position = position_of(i);
      window.frames.push_back(
          static_cast<std::int64_t>(grid.instants ? grid.instants->frame_at(position) : position));
    }
    return window;
  };

  std::vector<Window> windows;
  if (grid.is_short()) {
    if (options.short_policy == ShortPolicy::kDrop) return windows;
    const bool loop = options.short_policy == ShortPolicy::kLoop;
    windows.push_back(window_of(0, [&](std::uint64_t i) {
      return loop ? i * step % grid.positions : std::min(i * step, grid.positions - 1);
    }));
    return windows;
  }
  const std::uint64_t count = grid.count();
  const auto add = [&](std::uint64_t ordinal) {
    windows.push_back(
        window_of(ordinal, [&](std::uint64_t i) { return ordinal * grid.stride + i * step; }));
  };
  const std::uint64_t wanted = options.windows_per_video;
  if (wanted == 0 || wanted >= count) {
    windows.reserve(count);
    for (std::uint64_t k = 0; k < count; ++k) add(k);
  } else {
    windows.reserve(wanted);
    for (const std::uint64_t k : choose(count, wanted, options.window_choice, seed, id)) add(k);
  }
  return windows;
}

}  // namespace shardreel
