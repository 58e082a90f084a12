#pragma once
// In which order clips leave the shuffle buffer: a pure state machine over identities and sizes,
// apart from the memory that holds the clips.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "loader/base/random.h"
#include "shardreel/batch.h"
#include "shardreel/error.h"

namespace shardreel {

struct ShuffleOrderOptions {
  std::uint64_t capacity_bytes = 0;
  std::uint64_t min_fill = 100;  ///< clips held before the first item leaves
  std::uint64_t seed = 0;
  Purpose purpose = Purpose::kClipShuffle;  ///< two tiers must not draw the same numbers
};

/// Takes (id, bytes) in sequence; gives ids in a seeded random order. What leaves, and when,
/// follows from the options, the epoch and what was fed, never from timing.
///
/// An item is a clip, or several that stay together until they are decoded; it goes by the id of
/// its first. Nothing leaves before `min_fill` clips are held; from then on, while filling, one
/// leaves for every two that enter; once the next does not fit, as many leave as it needs. At the
/// end `drain` gives the rest. An item larger than the capacity passes through. Bounded by bytes,
/// not by count: one 4K clip may displace sixty 256-pixel ones. Not thread-safe; cheap to copy,
/// save and restore.
class ShuffleOrder {
 public:
  explicit ShuffleOrder(const ShuffleOrderOptions& options) : options_(options) {}

  /// Begin an epoch. The order must be empty (drained or new).
  void begin(std::uint64_t epoch);

  /// Take the next item; append what leaves to `out`, in order. The item itself is held on return,
  /// unless it is among them.
  void feed(const ClipId& id, std::uint64_t bytes, std::uint64_t clips, std::vector<ClipId>& out);

  /// Give all that is held, in order.
  void drain(std::vector<ClipId>& out);

  // `feed` and `drain` step by step, for who has to stop in between. An item that does not pass by
  // enters once nothing has to leave for it any more; when `enter` says so, one leaves then.
  [[nodiscard]] bool passes_by(std::uint64_t bytes) const noexcept {
    return bytes > options_.capacity_bytes;
  }
  [[nodiscard]] bool must_leave_for(std::uint64_t bytes) const noexcept {
    return held_bytes_ + bytes > options_.capacity_bytes;
  }
  ClipId leave_for_room();
  bool enter(const ClipId& id, std::uint64_t bytes, std::uint64_t clips);
  ClipId leave();  ///< after `enter` said so, or at the end; something must be held

  /// Ids of what is held, in the order in which it lies.
  [[nodiscard]] std::vector<ClipId> held() const;

  [[nodiscard]] std::uint64_t held_bytes() const noexcept { return held_bytes_; }
  [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

  /// Write the whole state as one line of text; `restore` takes it again, into an order of the same
  /// options, and refuses anything else.
  [[nodiscard]] std::string save() const;
  Result<void> restore(std::string_view saved);

 private:
  struct Item {
    ClipId id;
    std::uint64_t bytes = 0;
    std::uint64_t clips = 1;
  };
  ShuffleOrderOptions options_;
  std::uint64_t epoch_ = 0;
  std::uint64_t draws_ = 0;    // keys the random choices: draw n is a function of (seed, epoch, n)
  std::uint64_t entered_ = 0;  // since the buffer held min_fill, while filling
  bool filling_ = true;        // until the first item that did not fit
  std::uint64_t held_bytes_ = 0;
  std::uint64_t held_clips_ = 0;
  std::vector<Item> items_;
};

}  // namespace shardreel
