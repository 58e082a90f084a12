#pragma once
// How many decoder sessions at a time: one more after a while of success, half after a refusal.

#include <cstdint>
#include <optional>

#include "loader/device/governor/free_window.h"

namespace shardreel {

struct SessionLimitOptions {
  std::uint32_t least = 1, most = 16, first = 1;
  GovernorTime raise_every = std::chrono::seconds(2);
};

/// Additive increase, multiplicative decrease. Not thread-safe.
class SessionLimit {
 public:
  explicit SessionLimit(const SessionLimitOptions& options);

  [[nodiscard]] std::uint32_t allowed() const { return allowed_; }
  /// A session worked, and units wait for one: without the latter more would not help.
  void succeeded(GovernorTime now, bool more_would_help);
  /// Memory was refused. Refusals of one burst count once.
  void refused(GovernorTime now);

 private:
  const SessionLimitOptions options_;
  std::uint32_t allowed_;
  std::optional<GovernorTime> changed_;  // or began
  std::optional<GovernorTime> last_refusal_;
};

}  // namespace shardreel
