#pragma once
// Which addresses belong to which live blocks: what turns a copy past the end of a block into an
// error, on every device.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>

#include "loader/base/mutex.h"

namespace shardreel {

/// Blocks that do not overlap, by address. Thread-safe.
class AddressRanges {
 public:
  void add(const void* data, std::uint64_t bytes) {
    const MutexLock lock(mutex_);
    ranges_[static_cast<const std::byte*>(data)] = bytes;
  }
  /// Return the block's size, 0 when it is none.
  std::uint64_t remove(const void* data) {
    const MutexLock lock(mutex_);
    const auto found = ranges_.find(static_cast<const std::byte*>(data));
    if (found == ranges_.end()) return 0;
    const std::uint64_t bytes = found->second;
    ranges_.erase(found);
    return bytes;
  }

  enum class Place { kOutside, kInside, kAcross };
  /// Where [data, data + bytes) lies: kAcross begins in a block and ends outside of it.
  [[nodiscard]] Place place(const void* data, std::uint64_t bytes) const {
    const MutexLock lock(mutex_);
    const auto* at = static_cast<const std::byte*>(data);
    const auto after = ranges_.upper_bound(at);
    if (after == ranges_.begin()) return Place::kOutside;
    const auto& [begin, size] = *std::prev(after);
    const auto offset = static_cast<std::uint64_t>(at - begin);
    if (offset >= size) return Place::kOutside;
    return bytes <= size - offset ? Place::kInside : Place::kAcross;
  }

 private:
  mutable Mutex mutex_;
  std::map<const std::byte*, std::uint64_t, std::less<>> ranges_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
