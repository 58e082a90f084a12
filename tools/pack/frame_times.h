#pragma once
// The times of an output's frames by their number.

#include <cstdint>
#include <vector>

namespace shardreel::tools {

/// Ascending times, moved so that none lies before 0: mp4 would hide those frames.
class FrameTimes {
 public:
  void add(std::int64_t time) {
    if (times_.empty() && time < 0) shift_ = -time;
    times_.push_back(time + shift_);
  }
  /// Say how long the last frame is shown, so that `of(count())` has an answer.
  void end(std::int64_t ticks) { last_ticks_ = ticks > 0 ? ticks : 1; }

  [[nodiscard]] std::int64_t count() const noexcept {
    return static_cast<std::int64_t>(times_.size());
  }
  /// Of the frame added last, as it was given.
  [[nodiscard]] std::int64_t last() const { return times_.back() - shift_; }
  /// What was added to all times.
  [[nodiscard]] std::int64_t shift() const noexcept { return shift_; }

  /// The time of frame `number`. Goes on evenly before the first and behind the last: decoding
  /// times of frames that are shown out of order begin at negative numbers. Ascending in `number`,
  /// so what was in order stays in order.
  [[nodiscard]] std::int64_t of(std::int64_t number) const {
    const std::int64_t step = times_.size() > 1 ? times_[1] - times_[0] : last_ticks_;
    if (number < 0) return times_.front() + number * step;
    if (number >= count()) return times_.back() + (number - count() + 1) * last_ticks_;
    return times_[static_cast<std::size_t>(number)];
  }

 private:
  std::vector<std::int64_t> times_;
  std::int64_t shift_ = 0, last_ticks_ = 1;
};

}  // namespace shardreel::tools
