#include "loader/pipeline/device_watch.h"

#include <utility>

#include "loader/base/name_thread.h"

namespace shardreel {

DeviceWatch::DeviceWatch(std::function<void()> look, std::chrono::milliseconds period)
    : look_(std::move(look)), period_(period), thread_([this](const std::stop_token& stop) {
        name_thread("sr-devices");
        run(stop);
      }) {}

void DeviceWatch::run(const std::stop_token& stop) {
  for (;;) {
    {
      const MutexLock lock(mutex_);
      if (!stopped_.wait_for(mutex_, stop, period_)) return;
    }
    look_();
  }
}

}  // namespace shardreel
