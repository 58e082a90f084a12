#pragma once
// A mutex that clang's thread-safety analysis understands, and the condition variable that goes
// with it. libstdc++'s own std::mutex carries no annotations.

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#if defined(__clang__)
#define SHARDREEL_THREAD(x) __attribute__((x))
#else
#define SHARDREEL_THREAD(x)
#endif
#define SHARDREEL_GUARDED_BY(m) SHARDREEL_THREAD(guarded_by(m))
#define SHARDREEL_REQUIRES(m) SHARDREEL_THREAD(requires_capability(m))
#define SHARDREEL_EXCLUDES(m) SHARDREEL_THREAD(locks_excluded(m))

namespace shardreel {

class SHARDREEL_THREAD(capability("mutex")) Mutex {
 public:
  void lock() SHARDREEL_THREAD(acquire_capability()) { mutex_.lock(); }
  void unlock() SHARDREEL_THREAD(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class SHARDREEL_THREAD(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) SHARDREEL_THREAD(acquire_capability(mutex)) : mutex_(mutex) {
    mutex_.lock();
  }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;
  ~MutexLock() SHARDREEL_THREAD(release_capability()) { mutex_.unlock(); }

 private:
  Mutex& mutex_;
};

/// Waits release and take the mutex again; the caller holds it before and after. There is no wait
/// with a predicate: write the loop, so that the analysis sees what the condition reads.
class Condition {
 public:
  void notify_all() noexcept { condition_.notify_all(); }

  void wait(Mutex& mutex) SHARDREEL_REQUIRES(mutex) { condition_.wait(mutex); }

  /// Return false when `stop` was asked for, at once when it already is.
  bool wait(Mutex& mutex, const std::stop_token& stop) SHARDREEL_REQUIRES(mutex) {
    // The predicate is "woken once": any notification or the stop request ends the wait.
    bool woken = false;
    condition_.wait(mutex, stop, [&woken] { return std::exchange(woken, true); });
    return !stop.stop_requested();
  }

  /// The same, until `deadline` at the latest; whoever waits looks at the clock.
  bool wait_until(Mutex& mutex, const std::stop_token& stop,
                  std::chrono::steady_clock::time_point deadline) SHARDREEL_REQUIRES(mutex) {
    bool woken = false;
    condition_.wait_until(mutex, stop, deadline, [&woken] { return std::exchange(woken, true); });
    return !stop.stop_requested();
  }

  /// Wait at most `period`, too; only for what no notification can tell (the end of a child
  /// process).
  bool wait_for(Mutex& mutex, const std::stop_token& stop, std::chrono::milliseconds period)
      SHARDREEL_REQUIRES(mutex) {
    condition_.wait_for(mutex, stop, period, [] { return false; });
    return !stop.stop_requested();
  }

 private:
  std::condition_variable_any condition_;
};

}  // namespace shardreel
