#include "loader/device/governor/session_costs.h"

#include <algorithm>

namespace shardreel {
namespace {

constexpr double kNewest = 0.25;  // weight of a measurement

}  // namespace

std::uint64_t SessionCosts::estimate(const std::string& kind, std::uint64_t formula_bytes) const {
  const MutexLock lock(mutex_);
  const auto found = beyond_.find(kind);
  if (found == beyond_.end()) return formula_bytes;
  // Surfaces are there whatever was measured: somebody gave memory back at that moment.
  const auto formula = static_cast<double>(formula_bytes);
  return static_cast<std::uint64_t>(std::max(formula + found->second, formula / 2));
}

void SessionCosts::measured(const std::string& kind, std::uint64_t formula_bytes,
                            std::uint64_t measured_bytes) {
  const double beyond = static_cast<double>(measured_bytes) - static_cast<double>(formula_bytes);
  const MutexLock lock(mutex_);
  const auto [at, first] = beyond_.try_emplace(kind, beyond);
  if (!first) at->second += kNewest * (beyond - at->second);
}

}  // namespace shardreel
