#include "loader/device/governor/refusal_memory.h"

namespace shardreel {

KindVerdict RefusalMemory::ask(const std::string& kind) {
  const MutexLock lock(mutex_);
  const auto [known, first] = kinds_.try_emplace(kind, KindVerdict::kBeingTried);
  return first ? KindVerdict::kTry : known->second;
}

void RefusalMemory::report(const std::string& kind, KindVerdict verdict) {
  const MutexLock lock(mutex_);
  kinds_[kind] = verdict;
}

void RefusalMemory::forget(const std::string& kind) {
  const MutexLock lock(mutex_);
  kinds_.erase(kind);
}

std::uint64_t RefusalMemory::refused_kinds() const {
  const MutexLock lock(mutex_);
  std::uint64_t count = 0;
  for (const auto& [kind, verdict] : kinds_)
    count += verdict == KindVerdict::kRefuses || verdict == KindVerdict::kDiffers ? 1 : 0;
  return count;
}

}  // namespace shardreel
