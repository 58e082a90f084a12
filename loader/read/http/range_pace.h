#pragma once
// How large the next range is and how many are in flight: pure.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace shardreel {

/// Ranges begin small, so that the first bytes come soon, and double. Their number grows as long as
/// the reader waits for bytes and more ranges made them come faster, and goes back where they did
/// not; it shrinks when bytes come slower.
class RangePace {
 public:
  RangePace(std::uint64_t largest_bytes, std::uint32_t most_ranges)
      : largest_bytes_(largest_bytes), most_ranges_(std::max<std::uint32_t>(most_ranges, 1)) {}

  [[nodiscard]] std::uint32_t ranges() const { return std::min(ranges_, most_ranges_); }
  /// How much of the front range may be unread when the next is asked for. One large range at a
  /// time fills a fast link; what a second one brings meanwhile must be copied once more.
  [[nodiscard]] std::uint64_t ahead(std::uint64_t front_bytes) const {
    return ranges_ > kFewest || front_bytes < largest_bytes_ ? front_bytes : front_bytes / 4;
  }

  /// Size of the next range.
  std::uint64_t next_bytes() {
    const std::uint64_t bytes = std::min(next_bytes_, largest_bytes_);
    next_bytes_ = std::min(bytes * 2, largest_bytes_);
    return bytes;
  }
  /// The reader jumped: what is read next may be short again.
  void jump() { next_bytes_ = kJumpBytes; }

  /// A range was used up; `waited` says whether the reader stood still for it.
  void used(std::uint64_t bytes, bool waited, std::chrono::steady_clock::time_point now) {
    if (blocks_ == 0)
      began_ = now;
    else
      bytes_ += bytes;
    waited_ = waited_ || waited;
    if (++blocks_ <= 2 * ranges()) return;
    const double seconds = std::max(1e-6, std::chrono::duration<double>(now - began_).count());
    judge(static_cast<double>(bytes_) / seconds, static_cast<double>(bytes_) / (blocks_ - 1));
    blocks_ = 0;
    bytes_ = 0;
    waited_ = false;
  }

 private:
  /// Of some ranges of `mean_bytes`, read at `rate`.
  void judge(double rate, double mean_bytes) {
    const bool larger = mean_bytes > mean_bytes_ * 1.3;
    mean_bytes_ = mean_bytes;
    const bool faster = waited_ && rate > best_rate_ * 1.1;
    if (larger) {  // that alone makes them faster: their number is looked at later
      if (faster) {
        best_rate_ = rate;
        unproven_ = true;
        ranges_ = std::min(ranges() + 1, most_ranges_);
      }
    } else if (unproven_) {  // how fast are the fewest?
      unproven_ = false;
      if (waited_) compared_ = ranges();
      best_rate_ = rate;
      ranges_ = settled_;
    } else if (compared_ > 0 && best_rate_ > rate * 1.1) {
      try_more_than(std::exchange(compared_, 0));
    } else if (compared_ > 0) {
      compared_ = 0;
      best_rate_ = rate;
    } else if (faster) {
      best_rate_ = rate;
      try_more_than(ranges());
    } else if (ranges_ > settled_) {  // more made it no faster
      ranges_ = settled_;
    } else if (waited_ && rate < best_rate_ * 0.7) {
      best_rate_ = rate;
      if (ranges_ > kFewest) settled_ = --ranges_;
    }
  }
  void try_more_than(std::uint32_t worth_it) {
    settled_ = worth_it;
    ranges_ = std::min(settled_ + std::max(settled_ / 4, 1U), most_ranges_);
  }

  static constexpr std::uint32_t kFewest = 2;
  static constexpr std::uint64_t kFirstBytes = std::uint64_t{64} << 10;
  static constexpr std::uint64_t kJumpBytes = std::uint64_t{256} << 10;

  std::uint64_t largest_bytes_;
  std::uint32_t most_ranges_;
  std::uint64_t next_bytes_ = kFirstBytes;
  std::uint32_t ranges_ = kFewest;
  std::uint32_t settled_ = kFewest;  // known to be worth it; more are a trial
  bool unproven_ = false;            // more ranges came while they became larger, too
  std::uint32_t compared_ = 0;       // as many, at `best_rate_`, with the fewest
  std::uint32_t blocks_ = 0;
  std::uint64_t bytes_ = 0;
  bool waited_ = false;
  double best_rate_ = 0, mean_bytes_ = 0;
  std::chrono::steady_clock::time_point began_;
};

}  // namespace shardreel
