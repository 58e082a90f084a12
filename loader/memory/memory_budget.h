#pragma once
// Memory in use is a value: a Reservation is made before the bytes are allocated and dies after
// they are freed. Shares bound it, the ledger counts it.

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "loader/base/mutex.h"

namespace shardreel {

/// What bytes are for.
enum class MemoryTag : std::uint8_t { kEncoded, kDecode, kClip, kBatch, kHeld, kPackets, kPinned };
inline constexpr std::size_t kMemoryTags = 7;
[[nodiscard]] std::string_view to_string(MemoryTag tag) noexcept;

/// Counts bytes in use by tag, with peaks; the peak of the sum is taken at one moment. Thread-safe.
class MemoryLedger {
 public:
  struct Use {
    std::uint64_t now = 0;
    std::uint64_t peak = 0;
  };
  struct Snapshot {
    std::array<Use, kMemoryTags> tags;
    Use total;
  };

  void add(MemoryTag tag, std::uint64_t bytes);
  void remove(MemoryTag tag, std::uint64_t bytes);
  [[nodiscard]] Snapshot snapshot() const;

 private:
  mutable Mutex mutex_;
  Snapshot use_ SHARDREEL_GUARDED_BY(mutex_);
};

class MemoryShare;

/// Bytes of a share that are taken until this dies. Move-only.
class [[nodiscard]] Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation() { release(); }

  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

  /// Take `bytes` (at most what is left) out into a reservation of its own, under another tag.
  Reservation split(std::uint64_t bytes, MemoryTag tag);

  /// Move all bytes to another share; false, with nothing changed, when they do not fit there.
  bool move_to(MemoryShare& share);

  void release() noexcept;

 private:
  friend class MemoryShare;
  Reservation(MemoryShare* share, std::uint64_t bytes, MemoryTag tag)
      : share_(share), bytes_(bytes), tag_(tag) {}

  MemoryShare* share_ = nullptr;
  std::uint64_t bytes_ = 0;
  MemoryTag tag_ = MemoryTag::kEncoded;
};

/// A fixed part of the budget. Never lends to or borrows from another. Admission is decided under a
/// lock (never add-then-undo, which refuses wrongly while another thread retries). It does not
/// wait: whoever needs memory knows what to wait for, and is told by `on_release`. Thread-safe.
class MemoryShare {
 public:
  MemoryShare(MemoryLedger& ledger, std::string name, std::uint64_t capacity)
      : ledger_(ledger), name_(std::move(name)), capacity_(capacity) {}
  MemoryShare(const MemoryShare&) = delete;
  MemoryShare& operator=(const MemoryShare&) = delete;

  [[nodiscard]] std::optional<Reservation> try_reserve(std::uint64_t bytes, MemoryTag tag);

  /// Called without locks after bytes came back. Set before the share is used.
  void on_release(std::function<void()> callback) { on_release_ = std::move(callback); }

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::uint64_t in_use() const;

 private:
  friend class Reservation;
  bool take(std::uint64_t bytes);
  void give_back(std::uint64_t bytes);

  MemoryLedger& ledger_;
  const std::string name_;
  const std::uint64_t capacity_;
  std::function<void()> on_release_;
  mutable Mutex mutex_;
  std::uint64_t in_use_ SHARDREEL_GUARDED_BY(mutex_) = 0;
};

}  // namespace shardreel
