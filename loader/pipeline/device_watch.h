#pragma once
// Looks at devices all the time: memory that others want is given back also while nothing is
// decoded.

#include <chrono>
#include <functional>
#include <thread>

#include "loader/base/mutex.h"

namespace shardreel {

/// Calls `look` every `period` on a thread of its own (a driver may keep the caller) until it dies.
class DeviceWatch {
 public:
  DeviceWatch(std::function<void()> look, std::chrono::milliseconds period);
  DeviceWatch(const DeviceWatch&) = delete;
  DeviceWatch& operator=(const DeviceWatch&) = delete;

 private:
  void run(const std::stop_token& stop);
  const std::function<void()> look_;
  const std::chrono::milliseconds period_;
  Mutex mutex_;
  Condition stopped_;
  std::jthread thread_;
};

}  // namespace shardreel
