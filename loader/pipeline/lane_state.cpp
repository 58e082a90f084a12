#include "loader/pipeline/lane_state.h"

namespace shardreel {

ShuffleOrderOptions pixel_order_options(const LoaderOptions& options, const MemoryPlan& plan) {
  return {.capacity_bytes = plan.lane_shuffle_bytes,
          .min_fill = options.resource.min_fill,
          .seed = options.batch.seed};
}

ShuffleOrderOptions tier_order_options(const LoaderOptions& options, const MemoryPlan& plan) {
  return {.capacity_bytes = plan.lane_packet_tier_bytes,
          .min_fill = options.resource.min_fill,
          .seed = options.batch.seed,
          .purpose = Purpose::kUnitShuffle};
}

void OrderStep::apply(ShuffleOrder& order) const {
  switch (kind) {
    case Kind::kEnter: order.enter(id, bytes, clips); break;
    case Kind::kLeave: order.leave(); break;
    case Kind::kLeaveForRoom: order.leave_for_room(); break;
  }
}

void LaneState::begin(std::uint64_t first) {
  epoch = first;
  begun = epoch_complete = false;
  counts = {};
  feed = {};
  current.reset();
  samples.clear();
  pixels.begin(first);
  packets.begin(first);
}

void LaneState::apply(const BatchMark& mark) {
  for (const LaneNote& note : mark.notes) {
    if (const auto* line = std::get_if<std::shared_ptr<const LineMark>>(&note)) {
      for (const OrderStep& step : (*line)->tier) step.apply(packets);
    } else if (const auto* step = std::get_if<OrderStep>(&note)) {
      step->apply(pixels);
    } else if (const auto* news = std::get_if<SampleNews>(&note)) {
      if (news->progress) {
        samples.insert_or_assign(news->sample, *news->progress);
      } else {
        samples.erase(news->sample);
      }
    } else {  // a new pass begins with both tiers empty
      feed = {};
      samples.clear();
      pixels.begin(epoch);
      packets.begin(epoch);
    }
  }
  // Only the last place counts.
  for (auto note = mark.notes.rbegin(); note != mark.notes.rend(); ++note) {
    if (std::holds_alternative<NewPass>(*note)) break;
    if (const auto* line = std::get_if<std::shared_ptr<const LineMark>>(&*note)) {
      feed = (*line)->after;
      break;
    }
  }
  begun = true;
  epoch_complete = mark.epoch_complete;
  counts = mark.counts;
  current = mark.current;
}

std::set<std::uint64_t> LaneState::shards() const {
  std::set<std::uint64_t> numbers;
  if (!begun || epoch_complete) return numbers;
  for (const auto& turn : feed.stream.turns) {
    if (turn.open) numbers.insert(turn.shard);
  }
  for (const FeedPosition::Slot& slot : feed.slots) {
    if (slot.open) numbers.insert(slot.sample.first);
  }
  if (current) numbers.insert(current->sample.first);
  for (const ShuffleOrder* order : {&pixels, &packets}) {
    for (const ClipId& id : order->held()) numbers.insert(id.shard);
  }
  return numbers;
}

}  // namespace shardreel
