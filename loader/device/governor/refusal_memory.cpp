#include "loader/device/governor/refusal_memory.h"

namespace shardreel {

std::optional<KindVerdict> RefusalMemory::known(const std::string& kind) {
  const auto found = kinds_.find(kind);
  if (found == kinds_.end()) {
    kinds_[kind] = State::kBeingTried;
    ++tries_;
    return KindVerdict::kTry;
  }
  if (found->second == State::kTakes) return KindVerdict::kTakes;
  if (found->second == State::kRefuses) return KindVerdict::kRefuses;
  return std::nullopt;
}

std::optional<KindVerdict> RefusalMemory::ask_now(const std::string& kind) {
  const MutexLock lock(mutex_);
  return known(kind);
}

KindVerdict RefusalMemory::ask(const std::string& kind, const std::stop_token& stop) {
  const MutexLock lock(mutex_);
  for (;;) {
    if (const auto verdict = known(kind)) return *verdict;
    if (!reported_.wait(mutex_, stop)) return KindVerdict::kRefuses;
  }
}

void RefusalMemory::report(const std::string& kind, bool takes) {
  {
    const MutexLock lock(mutex_);
    kinds_[kind] = takes ? State::kTakes : State::kRefuses;
  }
  reported_.notify_all();
}

void RefusalMemory::forget(const std::string& kind) {
  {
    const MutexLock lock(mutex_);
    kinds_.erase(kind);
  }
  reported_.notify_all();
}

std::uint64_t RefusalMemory::tries() const {
  const MutexLock lock(mutex_);
  return tries_;
}

std::uint64_t RefusalMemory::refused_kinds() const {
  const MutexLock lock(mutex_);
  std::uint64_t count = 0;
  for (const auto& [kind, state] : kinds_) count += state == State::kRefuses ? 1 : 0;
  return count;
}

}  // namespace shardreel
