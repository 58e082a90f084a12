#pragma once
// Who holds memory of a device that nothing is done with at the moment, and could give it back.

#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <utility>

#include "loader/base/mutex.h"

namespace shardreel {

/// One for each device. Thread-safe.
class IdleMemory {
 public:
  /// Everything that is idle, and what becomes idle that is in use now.
  static constexpr std::uint64_t kAll = std::numeric_limits<std::uint64_t>::max();
  /// Free at least `bytes`, or all that there is; return how many. Called by any thread, one at a
  /// time; takes no memory of the device, and adds or removes no holder.
  using GiveBack = std::function<std::uint64_t(std::uint64_t bytes)>;

  /// A holder, until it dies; that waits for a call in progress. Move-only.
  class Holder {
   public:
    Holder() = default;
    Holder(Holder&& other) noexcept { swap(other); }
    Holder& operator=(Holder&& other) noexcept {
      Holder taken(std::move(other));
      swap(taken);
      return *this;
    }
    ~Holder() {
      if (of_ != nullptr) of_->remove(at_);
    }

   private:
    friend class IdleMemory;
    void swap(Holder& other) noexcept {
      std::swap(of_, other.of_);
      std::swap(at_, other.at_);
    }
    IdleMemory* of_ = nullptr;
    std::list<GiveBack>::iterator at_;
  };

  /// Those that were added first are asked first. Outlives the holder.
  [[nodiscard]] Holder add(GiveBack give_back);

  /// Ask one after the other until `bytes` came; return how many did.
  std::uint64_t give_back(std::uint64_t bytes);

 private:
  void remove(std::list<GiveBack>::iterator at);
  Mutex mutex_;
  std::list<GiveBack> holders_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
