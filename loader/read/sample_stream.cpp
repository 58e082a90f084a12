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

void SampleStream::open_next(Turn& turn) {
  if (next_shard_ == options_.share.shards.size()) {
    turn.slot = nullptr;
    return;
  }
  const InputOptions& input = service_.options();
  ShardSlotOptions slot;
  slot.reader.integrity = input.integrity;
  slot.reader.member_inline_bytes = options_.inline_bytes;
  slot.reader.max_member_bytes = input.max_member_bytes;
  slot.reader.spool_dir = input.spool_dir;
  slot.reader.large_fields = input.video_fields;
  slot.share_bytes = options_.shard_bytes;
  slot.index_dir = input.index_dir;
  slot.wants_key = options_.wants_key;
  slot.reader.modulo = options_.share.modulo;
  slot.reader.remainder = options_.share.remainder;
  turn.shard_number = options_.share.shards[next_shard_++];
  turn.slot = service_.open_slot(turn.shard_number, std::move(slot), news_, stop_);
  turn.slot->start();
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
        event.shard_number = turn.shard_number;
        turn_ = (turn_ + 1) % turns_.size();
        return event;
      case ShardSlot::State::kEnd:
        // The next shard takes the ended one's turn, at once: the order does not know how long a
        // shard took to end.
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
