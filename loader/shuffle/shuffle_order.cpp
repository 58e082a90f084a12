#include "loader/shuffle/shuffle_order.h"

#include <fmt/format.h>

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

void ShuffleOrder::leave(std::vector<ClipId>& out) {
  const std::uint64_t bits = keyed_hash(options_.seed, options_.purpose, {epoch_, draws_++});
  // Swap with the last: constant time, and the order of what is held is part of the saved state.
  std::swap(items_[bounded(bits, items_.size())], items_.back());
  held_bytes_ -= items_.back().bytes;
  held_clips_ -= items_.back().clips;
  out.push_back(items_.back().id);
  items_.pop_back();
}

void ShuffleOrder::feed(const ClipId& id, std::uint64_t bytes, std::uint64_t clips,
                        std::vector<ClipId>& out) {
  if (bytes > options_.capacity_bytes) {
    out.push_back(id);
    return;
  }
  while (held_bytes_ + bytes > options_.capacity_bytes) {
    leave(out);
    filling_ = false;
  }
  items_.push_back({id, bytes, clips});
  held_bytes_ += bytes;
  held_clips_ += clips;
  if (filling_ && held_clips_ >= options_.min_fill && ++entered_ % 2 == 0) leave(out);
}

void ShuffleOrder::drain(std::vector<ClipId>& out) {
  while (!items_.empty()) leave(out);
}

std::string ShuffleOrder::save() const {
  std::string text =
      fmt::format("2 {} {} {} {} {} {} {} {}", options_.capacity_bytes, options_.min_fill,
                  options_.seed, epoch_, draws_, entered_, filling_ ? 1 : 0, items_.size());
  for (const Item& item : items_) {
    text += fmt::format(" {} {} {} {} {} {}", item.id.epoch, item.id.shard, item.id.sample,
                        item.id.window, item.bytes, item.clips);
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
  if (!in || version != 2) return refuse("not a saved state of version 2");
  if (theirs.capacity_bytes != options_.capacity_bytes || theirs.min_fill != options_.min_fill ||
      theirs.seed != options_.seed) {
    return refuse(
        fmt::format("it was made with shuffle_bytes {}, min_fill {}, seed {}; here they "
                    "are {}, {}, {}",
                    theirs.capacity_bytes, theirs.min_fill, theirs.seed, options_.capacity_bytes,
                    options_.min_fill, options_.seed));
  }
  other.filling_ = filling != 0;
  for (std::size_t i = 0; i < count; ++i) {
    Item item;
    in >> item.id.epoch >> item.id.shard >> item.id.sample >> item.id.window >> item.bytes >>
        item.clips;
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
