#include "loader/device/governor/governor.h"

#include <algorithm>
#include <utility>

namespace shardreel {

GpuLease::GpuLease(GpuLease&& other) noexcept { swap(other); }
GpuLease& GpuLease::operator=(GpuLease&& other) noexcept {
  GpuLease taken(std::move(other));
  swap(taken);
  return *this;
}
GpuLease::~GpuLease() {
  if (governor_ != nullptr) governor_->change(bytes_, 0, allocated_ ? bytes_ : 0, 0);
}

void GpuLease::swap(GpuLease& other) noexcept {
  std::swap(governor_, other.governor_);
  std::swap(bytes_, other.bytes_);
  std::swap(allocated_, other.allocated_);
}

void GpuLease::allocated(std::uint64_t bytes) {
  governor_->change(bytes_, bytes, allocated_ ? bytes_ : 0, bytes);
  governor_->end_cool_down();
  bytes_ = bytes;
  allocated_ = true;
}

void GpuLease::freeing() {
  governor_->change(0, 0, allocated_ ? bytes_ : 0, 0);
  allocated_ = false;
}

Governor::Governor(const GovernorOptions& options)
    : options_(options), left_to_us_(options.window), next_cool_down_(options.cool_down) {}

void Governor::change(std::uint64_t granted_less, std::uint64_t granted_more,
                      std::uint64_t held_less, std::uint64_t held_more) noexcept {
  const MutexLock lock(mutex_);
  granted_ += granted_more - granted_less;
  held_ += held_more - held_less;
}

void Governor::end_cool_down() {
  const MutexLock lock(mutex_);
  next_cool_down_ = options_.cool_down;
}

std::uint64_t Governor::room(GovernorTime now) const {
  const std::uint64_t left = left_to_us_.least(now).value_or(0);
  return left - std::min(left, granted_);
}

void Governor::decide_mode(GovernorTime now) {
  const std::uint64_t room_now = room(now), reserve = options_.reserve_bytes;
  if (room_now < reserve + reserve / 4) {
    roomy_since_.reset();
  } else if (!roomy_since_) {
    roomy_since_ = now;
  }
  if (switched_ && now - *switched_ < options_.dwell) return;
  const bool cooling = cool_until_ && now < *cool_until_;
  const bool opens = !open_ && !cooling && roomy_since_ && now - *roomy_since_ >= options_.dwell;
  const bool closes = open_ && (room_now < reserve || cooling);
  if (!opens && !closes) return;
  open_ = opens;
  switched_ = now;
  ++counts_.mode_switches;
}

void Governor::reading(GovernorTime now, std::uint64_t free_bytes) {
  const MutexLock lock(mutex_);
  left_to_us_.add(now, free_bytes + held_);
  decide_mode(now);
}

std::optional<std::uint64_t> Governor::missing(GovernorTime now, std::uint64_t bytes) const {
  const std::uint64_t room_now = room(now), reserve = options_.reserve_bytes;
  const std::uint64_t budget = options_.budget_bytes;
  const bool cooling = cool_until_ && now < *cool_until_;
  if (!open_ || cooling || bytes > budget) return std::nullopt;
  const std::uint64_t over_budget = granted_ - std::min(granted_, budget - bytes);
  const std::uint64_t fits = room_now - std::min(room_now, reserve);
  const std::uint64_t under_reserve =
      room_now < reserve ? reserve - room_now + bytes : bytes - std::min(bytes, fits);
  return std::max(over_budget, under_reserve);
}

std::optional<GpuLease> Governor::try_reserve(GovernorTime now, std::uint64_t bytes,
                                              WhatIsIdle idle) {
  for (bool again = idle == WhatIsIdle::kStays;; again = true) {
    std::optional<std::uint64_t> lacks;
    {
      const MutexLock lock(mutex_);
      decide_mode(now);
      lacks = missing(now, bytes);
      if (lacks == std::uint64_t{0}) {
        granted_ += bytes;
        return GpuLease(this, bytes);
      }
      if (again || !lacks) {
        ++counts_.refusals;
        return std::nullopt;
      }
    }
    idle_.give_back(*lacks);
  }
}

void Governor::out_of_memory(GovernorTime now) {
  const MutexLock lock(mutex_);
  ++counts_.out_of_memory;
  // Those of one burst were granted before anybody knew.
  if (cool_until_ && now < *cool_until_) return;
  cool_until_ = now + next_cool_down_;
  next_cool_down_ = std::min(2 * next_cool_down_, options_.longest_cool_down);
  decide_mode(now);
}

std::uint64_t Governor::bytes_to_shed(GovernorTime now) const {
  const MutexLock lock(mutex_);
  const std::uint64_t left = left_to_us_.least(now).value_or(0);
  const std::uint64_t reserve = options_.reserve_bytes;
  if (!left_to_us_.least(now) || left >= granted_ + reserve / 2) return 0;
  return std::min(granted_, granted_ + reserve - left);
}

std::uint64_t Governor::shed(GovernorTime now) {
  const std::uint64_t bytes = bytes_to_shed(now);
  return bytes == 0 ? 0 : idle_.give_back(bytes);
}

std::uint64_t Governor::step_back(GovernorTime now) {
  {
    const MutexLock lock(mutex_);
    cool_until_ = std::max(cool_until_.value_or(now), now + options_.dwell);
    roomy_since_.reset();
    decide_mode(now);
  }
  return idle_.give_back(IdleMemory::kAll);
}

Governor::Gauges Governor::gauges(GovernorTime now) const {
  const MutexLock lock(mutex_);
  Gauges gauges = counts_;
  gauges.least_free = left_to_us_.least(now).value_or(0);
  gauges.granted = granted_;
  gauges.open = open_;
  return gauges;
}

}  // namespace shardreel
