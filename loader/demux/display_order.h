#pragma once
// Whether the times of a stream's packets agree with the order in which their bits say that they
// are shown. Containers that were filled from raw streams often hold the times of decoding.

#include <cstdint>
#include <vector>

#include "loader/demux/packet_index.h"
#include "loader/demux/packet_traits.h"

namespace shardreel {

/// Takes a stream's packets one after the other. Judges only what is consistent in itself: where
/// pictures are missing, counts that come twice or too far apart, nothing is said. Pure.
class DisplayOrder {
 public:
  void add(const PacketEntry& entry, const PictureOrder& order);
  /// No packet follows.
  void finish() { judge(); }

  /// Frames are shown in another order than that of their times.
  [[nodiscard]] bool times_mislead() const noexcept { return times_mislead_; }
  /// Frames that a decoder must hold back to show them in order, by their bits.
  [[nodiscard]] int held_back() const noexcept { return held_back_; }

 private:
  struct Shown {
    std::int64_t place = 0;  ///< ascending in the order of showing
    std::int64_t pts = kNoTime;
    bool hidden = false;  ///< by an edit list: demuxers give such frames times of their making
  };
  std::int64_t place_of(const PictureOrder& order);
  void judge();

  std::vector<Shown> run_;  ///< in decoding order; places of one run can be compared
  bool consistent_ = true;  ///< so far in this run
  int run_held_back_ = 0;
  bool sequence_ended_ = false;
  std::int64_t anchors_ = 0, between_ = 0;
  int held_back_ = 0;
  bool times_mislead_ = false;
};

}  // namespace shardreel
