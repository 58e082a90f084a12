#include "loader/device/governor/idle_memory.h"

namespace shardreel {

IdleMemory::Holder IdleMemory::add(GiveBack give_back) {
  const MutexLock lock(mutex_);
  Holder holder;
  holder.of_ = this;
  holder.at_ = holders_.insert(holders_.end(), std::move(give_back));
  return holder;
}

void IdleMemory::remove(std::list<GiveBack>::iterator at) {
  const MutexLock lock(mutex_);
  holders_.erase(at);
}

std::uint64_t IdleMemory::give_back(std::uint64_t bytes) {
  const MutexLock lock(mutex_);
  std::uint64_t came = 0;
  for (const GiveBack& holder : holders_) {
    if (came >= bytes) break;
    came += holder(bytes == kAll ? kAll : bytes - came);
  }
  return came;
}

}  // namespace shardreel
