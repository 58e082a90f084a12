#pragma once
// How large the next range is and how many are in flight: pure.

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace shardreel {

/// Ranges begin small, so that the first bytes come soon, and double. Their number grows as long as
/// the reader waits for bytes and one more made them come faster; it shrinks when they come slower.
class RangePace {
 public:
  RangePace(std::uint64_t largest_bytes, std::uint32_t most_ranges)
      : largest_bytes_(largest_bytes), most_ranges_(std::max<std::uint32_t>(most_ranges, 1)) {}

  [[nodiscard]] std::uint32_t ranges() const { return std::min(ranges_, most_ranges_); }

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
    const double rate = static_cast<double>(bytes_) / seconds;
    if (waited_ && rate > best_rate_ * 1.1) {
      best_rate_ = rate;
      ranges_ = std::min(ranges_ + 1, most_ranges_);
    } else if (waited_ && rate < best_rate_ * 0.7 && ranges_ > 2) {
      --ranges_;
      best_rate_ = rate;
    }
    blocks_ = 0;
    bytes_ = 0;
    waited_ = false;
  }

 private:
  static constexpr std::uint64_t kFirstBytes = std::uint64_t{64} << 10;
  static constexpr std::uint64_t kJumpBytes = std::uint64_t{256} << 10;

  std::uint64_t largest_bytes_;
  std::uint32_t most_ranges_;
  std::uint64_t next_bytes_ = kFirstBytes;
  std::uint32_t ranges_ = 2;
  std::uint32_t blocks_ = 0;
  std::uint64_t bytes_ = 0;
  bool waited_ = false;
  double best_rate_ = 0;
  std::chrono::steady_clock::time_point began_;
};

}  // namespace shardreel
