#pragma once
// "Something changed, look again": waiting without holding any lock of what is looked at, so that
// raising it from anywhere cannot deadlock.

#include <chrono>
#include <cstdint>
#include <stop_token>

#include "loader/base/mutex.h"

namespace shardreel {

/// Use: `auto seen = signal.version(); if (!ready()) signal.wait(seen, stop);` in a loop. A change
/// between the two is never missed. Thread-safe.
class Signal {
 public:
  [[nodiscard]] std::uint64_t version() const {
    const MutexLock lock(mutex_);
    return version_;
  }

  void raise() {
    {
      const MutexLock lock(mutex_);
      ++version_;
    }
    changed_.notify_all();
  }

  /// Wait until the version is no longer `seen`; false when `stop` was asked for.
  bool wait(std::uint64_t seen, const std::stop_token& stop) {
    const MutexLock lock(mutex_);
    while (version_ == seen) {
      if (!changed_.wait(mutex_, stop)) return false;
    }
    return !stop.stop_requested();
  }

  /// The same, until `deadline` at the latest.
  bool wait_until(std::uint64_t seen, const std::stop_token& stop,
                  std::chrono::steady_clock::time_point deadline) {
    const MutexLock lock(mutex_);
    while (version_ == seen && std::chrono::steady_clock::now() < deadline) {
      if (!changed_.wait_until(mutex_, stop, deadline)) return false;
    }
    return !stop.stop_requested();
  }

 private:
  mutable Mutex mutex_;
  Condition changed_;
  std::uint64_t version_ SHARDREEL_GUARDED_BY(mutex_) = 0;
};

}  // namespace shardreel
