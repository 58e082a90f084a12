#include "loader/read/sample_stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "loader/read/read_service.h"

namespace shardreel {

SampleStream::SampleStream(ReadService& service, SampleStreamOptions options, std::stop_token stop)
    : service_(service),
      options_(std::move(options)),
      stop_(std::move(stop)),
      news_(std::make_shared<Signal>()) {
  if (options_.from) {
    const StreamPosition& from = *options_.from;
    next_shard_ = from.next_shard;
    turn_ = from.turn;
    turns_.resize(from.turns.size());
    for (std::size_t i = 0; i < turns_.size(); ++i) {
      if (from.turns[i].open) open(turns_[i], from.turns[i].shard, from.turns[i].taken);
    }
    return;
  }
  const std::size_t open =
      std::min<std::size_t>(service.options().open_shards, options_.share.shards.size());
  turns_.resize(open);
  for (Turn& turn : turns_) open_next(turn);
}

SampleStream::~SampleStream() {
  for (const Turn& turn : turns_) {
    if (turn.slot) turn.slot->cancel();
  }
}

ShardSlotOptions slot_options(const InputOptions& input, const SampleStreamOptions& options) {
  ShardSlotOptions slot;
  slot.reader.integrity = input.integrity;
  slot.reader.member_inline_bytes = options.inline_bytes;
  slot.reader.max_member_bytes = input.max_member_bytes;
  slot.reader.spool_dir = input.spool_dir;
  slot.reader.large_fields = input.video_fields;
  slot.share_bytes = options.shard_bytes;
  slot.index_dir = input.index_dir;
  slot.wants_key = options.wants_key;
  slot.reader.modulo = options.share.modulo;
  slot.reader.remainder = options.share.remainder;
  return slot;
}

void SampleStream::open_next(Turn& turn) {
  if (next_shard_ == options_.share.shards.size()) {
    turn = Turn();
    return;
  }
  open(turn, options_.share.shards[next_shard_++], 0);
}

void SampleStream::note_end(const ShardSlot& slot) {
  const auto empty = slot.empty();
  if (!empty) return;
  if (empty_.count++ == 0) empty_.first = fmt::format("shard {}: {}", slot.url(), *empty);
  service_.shard_is_empty(slot.url(), *empty);
}

void SampleStream::open(Turn& turn, std::uint64_t shard, std::uint64_t given) {
  turn.shard_number = shard;
  turn.taken = turn.to_skip = given;
  ShardSlotOptions slot = slot_options(service_.options(), options_);
  slot.unread = given;
  turn.slot = service_.open_slot(shard, std::move(slot), news_, stop_);
  turn.slot->start();
}

StreamPosition SampleStream::position() const {
  StreamPosition position{next_shard_, turn_, {}};
  for (const Turn& turn : turns_)
    position.turns.push_back({turn.shard_number, turn.taken, turn.slot != nullptr});
  return position;
}

std::optional<SampleEvent> SampleStream::next() {
  for (std::size_t empty = 0; empty < turns_.size();) {
    Turn& turn = turns_[turn_];
    if (!turn.slot) {
      ++empty;
      turn_ = (turn_ + 1) % turns_.size();
      continue;
    }
    const std::uint64_t seen = news_->version();
    SampleEvent event;
    switch (turn.slot->pop(event.item)) {
      case ShardSlot::State::kItem:
        if (turn.to_skip > 0) {
          --turn.to_skip;
          event = SampleEvent();
          break;
        }
        ++turn.taken;
        event.shard_number = turn.shard_number;
        turn_ = (turn_ + 1) % turns_.size();
        return event;
      case ShardSlot::State::kEnd:
        // The next shard takes the ended one's turn, at once: the order does not know how long a
        // shard took to end.
        note_end(*turn.slot);
        open_next(turn);
        break;
      case ShardSlot::State::kLater: {
        {
          const MutexLock lock(mutex_);
          waiting_ = turn.slot;
        }
        const bool goes_on = news_->wait(seen, stop_);
        const MutexLock lock(mutex_);
        waiting_ = nullptr;
        if (!goes_on) return std::nullopt;
        break;
      }
    }
  }
  return std::nullopt;
}

std::string SampleStream::waiting_for() const {
  const MutexLock lock(mutex_);
  if (!waiting_) return {};
  return fmt::format("shard {} at byte {}", waiting_->url(), waiting_->position());
}

}  // namespace shardreel
