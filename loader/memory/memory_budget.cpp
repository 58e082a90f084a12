#include "loader/memory/memory_budget.h"

#include <algorithm>
#include <utility>

namespace shardreel {

std::string_view to_string(MemoryTag tag) noexcept {
  switch (tag) {
    case MemoryTag::kEncoded: return "encoded";
    case MemoryTag::kDecode: return "decode";
    case MemoryTag::kClip: return "clip";
    case MemoryTag::kBatch: return "batch";
    case MemoryTag::kHeld: return "held";
    case MemoryTag::kPackets: return "packets";
    case MemoryTag::kPinned: return "pinned";
  }
  return "encoded";
}

void MemoryLedger::add(MemoryTag tag, std::uint64_t bytes) {
  const MutexLock lock(mutex_);
  for (Use* use : {&use_.tags[static_cast<std::size_t>(tag)], &use_.total}) {
    use->now += bytes;
    use->peak = std::max(use->peak, use->now);
  }
}

void MemoryLedger::remove(MemoryTag tag, std::uint64_t bytes) {
  const MutexLock lock(mutex_);
  use_.tags[static_cast<std::size_t>(tag)].now -= bytes;
  use_.total.now -= bytes;
}

MemoryLedger::Snapshot MemoryLedger::snapshot() const {
  const MutexLock lock(mutex_);
  return use_;
}

Reservation::Reservation(Reservation&& other) noexcept
    : share_(std::exchange(other.share_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      tag_(other.tag_) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    release();
    share_ = std::exchange(other.share_, nullptr);
    bytes_ = std::exchange(other.bytes_, 0);
    tag_ = other.tag_;
  }
  return *this;
}

Reservation Reservation::split(std::uint64_t bytes, MemoryTag tag) {
  bytes = std::min(bytes, bytes_);
  bytes_ -= bytes;
  if (share_ != nullptr && tag != tag_) {
    share_->ledger_.remove(tag_, bytes);
    share_->ledger_.add(tag, bytes);
  }
  return Reservation(share_, bytes, tag);
}

bool Reservation::move_to(MemoryShare& share) {
  if (share_ == &share) return true;
  if (!share.take(bytes_)) return false;
  if (share_ != nullptr) {
    share_->give_back(bytes_);
  } else {
    share.ledger_.add(tag_, bytes_);
  }
  share_ = &share;
  return true;
}

void Reservation::release() noexcept {
  if (share_ == nullptr) return;
  share_->ledger_.remove(tag_, bytes_);
  MemoryShare* share = std::exchange(share_, nullptr);
  share->give_back(std::exchange(bytes_, 0));
}

std::optional<Reservation> MemoryShare::try_reserve(std::uint64_t bytes, MemoryTag tag) {
  if (!take(bytes)) return std::nullopt;
  ledger_.add(tag, bytes);
  return Reservation(this, bytes, tag);
}

std::uint64_t MemoryShare::in_use() const {
  const MutexLock lock(mutex_);
  return in_use_;
}

bool MemoryShare::take(std::uint64_t bytes) {
  const MutexLock lock(mutex_);
  if (bytes > capacity_ - in_use_) return false;
  in_use_ += bytes;
  return true;
}

void MemoryShare::give_back(std::uint64_t bytes) {
  {
    const MutexLock lock(mutex_);
    in_use_ -= bytes;
  }
  if (on_release_ && bytes > 0) on_release_();
}

}  // namespace shardreel
