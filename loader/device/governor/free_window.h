#pragma once
// The least free memory of the last while: a trainer's peak comes once a step, and what is free
// between its forward and its backward pass is not.

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

namespace shardreel {

/// Time is whatever the caller's clock says; it does not run backwards.
using GovernorTime = std::chrono::nanoseconds;
/// The clock of callers outside of tests.
[[nodiscard]] inline GovernorTime governor_now() {
  return std::chrono::steady_clock::now().time_since_epoch();
}

/// Takes readings; gives the least of those at most `window` old. The last reading counts however
/// old it is. Not thread-safe.
class FreeWindow {
 public:
  explicit FreeWindow(GovernorTime window) : window_(window) {}

  void add(GovernorTime now, std::uint64_t free_bytes);
  /// Nothing before the first reading.
  [[nodiscard]] std::optional<std::uint64_t> least(GovernorTime now) const;

 private:
  struct Reading {
    GovernorTime at;
    std::uint64_t free_bytes;
  };
  const GovernorTime window_;
  std::deque<Reading> readings_;  // each less than all later ones: the first is the least
};

}  // namespace shardreel
