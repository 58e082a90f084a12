#include "loader/shuffle/shuffle_order.h"

#include <fmt/format.h>

#include <iterator>
#include <sstream>
#include <utility>

#include "loader/base/random.h"

namespace shardreel {

void ShuffleOrder::begin(std::uint64_t epoch) {
  epoch_ = epoch;
  draws_ = 0;
  entered_ = 0;
  filling_ = true;
  held_bytes_ = 0;
  held_clips_ = 0;
  items_.clear();
}

ClipId ShuffleOrder::leave() {
  const std::uint64_t bits = keyed_hash(options_.seed, options_.purpose, {epoch_, draws_++});
  // Swap with the last: constant time, and the order of what is held is part of the saved state.
  std::swap(items_[bounded(bits, items_.size())], items_.back());
  const Item leaves = items_.back();
  held_bytes_ -= leaves.bytes;
  held_clips_ -= leaves.clips;
  items_.pop_back();
  return leaves.id;
}

ClipId ShuffleOrder::leave_for_room() {
  filling_ = false;
  return leave();
}

bool ShuffleOrder::enter(const ClipId& id, std::uint64_t bytes, std::uint64_t clips) {
  items_.push_back({id, bytes, clips});
  held_bytes_ += bytes;
  held_clips_ += clips;
  return filling_ && held_clips_ >= options_.min_fill && ++entered_ % 2 == 0;
}

void ShuffleOrder::feed(const ClipId& id, std::uint64_t bytes, std::uint64_t clips,
                        std::vector<ClipId>& out) {
  if (passes_by(bytes)) {
    out.push_back(id);
    return;
  }
  while (must_leave_for(bytes)) out.push_back(leave_for_room());
  if (enter(id, bytes, clips)) out.push_back(leave());
}

void ShuffleOrder::drain(std::vector<ClipId>& out) {
  while (!items_.empty()) out.push_back(leave());
}

std::vector<ClipId> ShuffleOrder::held() const {
  std::vector<ClipId> ids;
  ids.reserve(items_.size());
  for (const Item& item : items_) ids.push_back(item.id);
  return ids;
}

std::string ShuffleOrder::save() const {
  std::string text =
      fmt::format("3 {} {} {} {} {} {} {} {}", options_.capacity_bytes, options_.min_fill,
                  options_.seed, epoch_, draws_, entered_, filling_ ? 1 : 0, items_.size());
  // All are of the order's epoch. Most neighbours have the same size: it is written where it
  // changes.
  std::uint64_t bytes = 0, clips = 0;
  for (const Item& item : items_) {
    const bool same = item.bytes == bytes && item.clips == clips;
    fmt::format_to(std::back_inserter(text), " {} {} {} {}", same ? 0 : 1, item.id.shard,
                   item.id.sample, item.id.window);
    if (!same) fmt::format_to(std::back_inserter(text), " {} {}", item.bytes, item.clips);
    bytes = item.bytes;
    clips = item.clips;
  }
  return text;
}

Result<void> ShuffleOrder::restore(std::string_view saved) {
  const auto refuse = [](const std::string& why) {
    return Error{ErrorCode::kInvalidOption, "restoring the shuffle order: " + why, {}, {}, {}};
  };
  std::istringstream in{std::string(saved)};
  std::uint64_t version = 0;
  ShuffleOrder other(options_);
  ShuffleOrderOptions theirs;
  int filling = 0;
  std::size_t count = 0;
  in >> version >> theirs.capacity_bytes >> theirs.min_fill >> theirs.seed >> other.epoch_ >>
      other.draws_ >> other.entered_ >> filling >> count;
  if (!in || version != 3) return refuse("not a saved state of version 3");
  if (theirs.capacity_bytes != options_.capacity_bytes || theirs.min_fill != options_.min_fill ||
      theirs.seed != options_.seed) {
    return refuse(
        fmt::format("it was made with shuffle_bytes {}, min_fill {}, seed {}; here they "
                    "are {}, {}, {}",
                    theirs.capacity_bytes, theirs.min_fill, theirs.seed, options_.capacity_bytes,
                    options_.min_fill, options_.seed));
  }
  other.filling_ = filling != 0;
  Item item;  // keeps the last one's size
  for (std::size_t i = 0; i < count; ++i) {
    int changes = 0;
    item.id.epoch = other.epoch_;
    in >> changes >> item.id.shard >> item.id.sample >> item.id.window;
    if (changes != 0) in >> item.bytes >> item.clips;
    if (!in || item.bytes > options_.capacity_bytes - other.held_bytes_) {
      return refuse("the list of held clips is damaged");
    }
    other.held_bytes_ += item.bytes;
    other.held_clips_ += item.clips;
    other.items_.push_back(item);
  }
  *this = std::move(other);
  return {};
}

}  // namespace shardreel
