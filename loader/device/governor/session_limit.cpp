#include "loader/device/governor/session_limit.h"

#include <algorithm>

namespace shardreel {
namespace {

// Refusals this close together have one cause: sessions that were asked for at the same time.
constexpr GovernorTime kBurst = std::chrono::milliseconds(100);

}  // namespace

SessionLimit::SessionLimit(const SessionLimitOptions& options)
    : options_(options), allowed_(std::clamp(options.first, options.least, options.most)) {}

void SessionLimit::succeeded(GovernorTime now, bool more_would_help) {
  if (!changed_) changed_ = now;
  if (!more_would_help || now - *changed_ < options_.raise_every || allowed_ >= options_.most)
    return;
  ++allowed_;
  changed_ = now;
}

void SessionLimit::refused(GovernorTime now) {
  const bool same_burst = last_refusal_ && now - *last_refusal_ < kBurst;
  last_refusal_ = now;
  changed_ = now;
  if (!same_burst) allowed_ = std::max(options_.least, allowed_ / 2);
}

}  // namespace shardreel
