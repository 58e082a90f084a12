#pragma once
// How long the readers of one shard may wait for its source.

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "loader/base/mutex.h"

namespace shardreel {

/// An option in seconds; what is longer than thirty years is as good as for ever.
[[nodiscard]] inline std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::min(seconds, 1e9) * 1000));
}

/// Bounds the time in which somebody waits for bytes of a shard, all its waits together; waits of
/// several threads at one moment count once, and what the consumer takes does not count.
/// Thread-safe.
class WaitBound {
 public:
  using Clock = std::chrono::steady_clock;

  explicit WaitBound(std::chrono::milliseconds most) : most_(most) {}
  [[nodiscard]] std::chrono::milliseconds most() const noexcept { return most_; }

  /// One wait, from its making to its end.
  class Wait {
   public:
    explicit Wait(WaitBound& of) : of_(of), deadline_(of.begin()) {}
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;
    ~Wait() { of_.end(); }
    /// When the bound is reached if this wait lasts until then.
    [[nodiscard]] Clock::time_point deadline() const noexcept { return deadline_; }

   private:
    WaitBound& of_;
    const Clock::time_point deadline_;
  };

 private:
  Clock::time_point begin() {
    const MutexLock lock(mutex_);
    if (waiting_++ == 0) since_ = Clock::now();
    return since_ + most_ - spent_;
  }
  void end() {
    const MutexLock lock(mutex_);
    if (--waiting_ == 0) spent_ += Clock::now() - since_;
  }

  const std::chrono::milliseconds most_;
  Mutex mutex_;
  std::uint64_t waiting_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  Clock::time_point since_ SHARDREEL_GUARDED_BY(mutex_);  // while somebody waits
  Clock::duration spent_ SHARDREEL_GUARDED_BY(mutex_){};  // before that
};

}  // namespace shardreel
