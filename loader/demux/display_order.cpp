#include "loader/demux/display_order.h"

#include <algorithm>

namespace shardreel {
namespace {

// Runs without closed starts are judged in parts of this many frames: bounded memory, and times
// that mislead do so everywhere.
constexpr std::size_t kMostFrames = 4096;
constexpr int kAnchorBits = 32;

}  // namespace

std::int64_t DisplayOrder::place_of(const PictureOrder& order) {
  switch (order.rule) {
    case PictureOrder::Rule::kCount: return order.count;
    case PictureOrder::Rule::kBetween: return ((anchors_ - 1) << kAnchorBits) + ++between_;
    case PictureOrder::Rule::kUnknown: consistent_ = false; break;
    case PictureOrder::Rule::kDecoding:
    case PictureOrder::Rule::kAnchor: break;
  }
  between_ = 0;
  return ++anchors_ << kAnchorBits;
}

void DisplayOrder::add(const PacketEntry& entry, const PictureOrder& order) {
  if (entry.traits.shown == 0) return;
  const bool anew = order.rule == PictureOrder::Rule::kCount &&
                    (entry.traits.start == RandomAccessPoint::kClosed || sequence_ended_);
  if (anew || run_.size() == kMostFrames) judge();
  sequence_ended_ = entry.traits.sequence_end;
  const Shown shown{place_of(order), entry.pts, entry.discard};
  if (entry.traits.shown > 1 || entry.traits.packed || entry.traits.field) consistent_ = false;
  // Those that the picture overtakes: were it more than a decoder may hold back, some are missing.
  const auto recent = run_.end() - std::min<std::ptrdiff_t>(std::ssize(run_), 2 * kMaxReorder);
  const auto overtaken = static_cast<int>(std::count_if(
      recent, run_.end(), [&](const Shown& other) { return other.place > shown.place; }));
  consistent_ = consistent_ && overtaken <= kMaxReorder;
  run_held_back_ = std::max(run_held_back_, overtaken);
  run_.push_back(shown);
}

void DisplayOrder::judge() {
  std::sort(run_.begin(), run_.end(),
            [](const Shown& a, const Shown& b) { return a.place < b.place; });
  const auto same_place = [](const Shown& a, const Shown& b) { return a.place == b.place; };
  consistent_ =
      consistent_ && std::adjacent_find(run_.begin(), run_.end(), same_place) == run_.end();
  if (consistent_) {
    held_back_ = std::max(held_back_, run_held_back_);
    std::erase_if(run_, [](const Shown& shown) { return shown.hidden; });
    const bool timed = std::none_of(run_.begin(), run_.end(),
                                    [](const Shown& shown) { return shown.pts == kNoTime; });
    const auto earlier = [](const Shown& a, const Shown& b) { return b.pts < a.pts; };
    times_mislead_ |= timed && std::adjacent_find(run_.begin(), run_.end(), earlier) != run_.end();
  }
  run_.clear();
  consistent_ = true;
  run_held_back_ = 0;
}

}  // namespace shardreel
