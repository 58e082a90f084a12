#pragma once
// SIGINT and SIGTERM as a call on an ordinary thread.

#include <functional>
#include <mutex>
#include <thread>

namespace shardreel::tools {

/// While it lives, the first SIGINT or SIGTERM runs the action (once, on a thread of its own); a
/// second one ends the program at once, as without it. Signals are handled and not blocked, because
/// a blocked signal would stay blocked in the commands of `pipe:`. One at a time in a program.
class SignalWatch {
 public:
  SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;
  ~SignalWatch();

  /// Set what to do; done at once when the signal has already come. Replace it by an empty one
  /// before what it refers to dies.
  void on_signal(std::function<void()> action);

  /// The signal that came, or 0.
  [[nodiscard]] int received() const;

 private:
  void wait();

  int read_end_ = -1;
  mutable std::mutex mutex_;
  std::function<void()> action_;
  int received_ = 0;
  std::thread thread_;
};

}  // namespace shardreel::tools
