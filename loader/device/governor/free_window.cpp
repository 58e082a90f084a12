#include "loader/device/governor/free_window.h"

namespace shardreel {

void FreeWindow::add(GovernorTime now, std::uint64_t free_bytes) {
  // A reading that is not below this one can never be the least again.
  while (!readings_.empty() && readings_.back().free_bytes >= free_bytes) readings_.pop_back();
  readings_.push_back({now, free_bytes});
  while (readings_.size() > 1 && readings_.front().at < now - window_) readings_.pop_front();
}

std::optional<std::uint64_t> FreeWindow::least(GovernorTime now) const {
  for (const Reading& reading : readings_) {
    if (reading.at >= now - window_ || &reading == &readings_.back()) return reading.free_bytes;
  }
  return std::nullopt;
}

}  // namespace shardreel
