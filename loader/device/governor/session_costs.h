#pragma once
// What a decoder session of each kind takes on this device: a formula to begin with, then what was
// measured.

#include <cstdint>
#include <map>
#include <string>

#include "loader/base/mutex.h"

namespace shardreel {

/// Thread-safe.
class SessionCosts {
 public:
  /// Return the formula's bytes, corrected by what sessions of the kind took beyond it.
  [[nodiscard]] std::uint64_t estimate(const std::string& kind, std::uint64_t formula_bytes) const;
  /// A session was created and free memory fell by `measured_bytes`. Others may have taken or given
  /// memory in that moment, so one measurement counts a quarter; the first one counts whole.
  void measured(const std::string& kind, std::uint64_t formula_bytes, std::uint64_t measured_bytes);

 private:
  mutable Mutex mutex_;
  std::map<std::string, double> beyond_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
