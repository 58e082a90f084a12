#include "loader/pipeline/batcher.h"

#include <fmt/format.h>

#include <utility>

#include "loader/batch/collate.h"
#include "loader/media/frame_geometry.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kJudgedFrom = 100;  // samples: below that a ratio says nothing

std::vector<std::int64_t> batch_shape(const LoaderOptions& options, std::size_t clips) {
  const auto b = static_cast<std::int64_t>(clips);
  const std::int64_t t = options.window.num_frames;
  const std::int64_t h = options.transform.height;
  const std::int64_t w = options.transform.width;
  if (options.transform.color == ColorMode::kYuv420) return {b, t, h * 3 / 2, w, 1};
  const std::int64_t c = options.transform.color == ColorMode::kRgb ? 3 : 1;
  switch (options.transform.layout) {
    case Layout::kThwc: return {b, t, h, w, c};
    case Layout::kTchw: return {b, t, c, h, w};
    case Layout::kCthw: return {b, c, t, h, w};
  }
  return {};
}

}  // namespace

Batcher::Batcher(const LoaderOptions& options, const MemoryPlan& plan, std::string device,
                 std::uint64_t shards, MemoryLedger& ledger, BatchQueue& queue, Counters& counters,
                 BatcherEvents events)
    : options_(options),
      device_(std::move(device)),
      shards_(shards),
      queue_(queue),
      counters_(counters),
      events_(std::move(events)),
      shuffle_(ledger, "shuffle", plan.lane_shuffle_bytes),
      order_({.capacity_bytes = plan.lane_shuffle_bytes,
              .min_fill = options.resource.min_fill,
              .seed = options.batch.seed}) {}

void Batcher::restart(std::uint64_t epoch, std::uint64_t generation) {
  drop_all(DropReason::kStopped);
  ++restarts_;
  epoch_ = epoch;
  generation_ = generation;
  pass_ = 0;
  batches_ = 0;
  clips_in_epoch_ = clips_in_pass_ = 0;
  samples_seen_ = samples_failed_ = shards_failed_ = 0;
  first_failure_.reset();
  order_.begin(epoch);
}

void Batcher::drop_all(DropReason reason) {
  counters_.drop(reason, held_.size() + infos_.size());
  counters_.leave_shuffle(held_.size());
  held_.clear();
  order_.begin(epoch_);
  infos_.clear();
  storage_.reset();
}

bool Batcher::accept(LineItem item, const std::stop_token& stop) {
  if (auto* clip = std::get_if<ClipItem>(&item)) return on_clip(std::move(*clip), stop);
  if (const auto* unit = std::get_if<UnitEnd>(&item)) return on_unit_end(*unit);
  if (const auto* failure = std::get_if<FailureItem>(&item)) return on_failure(*failure);
  return on_end_of_pass(stop);
}

bool Batcher::on_clip(ClipItem item, const std::stop_token& stop) {
  if (item.result.lost) {
    const Error& lost = *item.result.lost;
    counters_.lose(lost.code);
    if (!item.sample->first_loss) item.sample->first_loss = lost;
    return options_.input.on_error == OnError::kSkip || fail_run(lost);
  }
  Clip clip = std::move(*item.result.clip);
  ++item.sample->clips_made;
  ++clips_in_epoch_;
  ++clips_in_pass_;
  if (item.result.padded) ++counters_.clips_padded;
  if (options_.batch.shuffle != ShuffleMode::kAll) return deliver(std::move(clip), stop);

  // What has to leave leaves first: its memory is what the new clip goes into.
  const ClipId id = clip.info.id;
  leaving_.clear();
  order_.feed(id, clip.item_bytes(), 1, leaving_);
  std::optional<Clip> entering(std::move(clip));
  const std::uint64_t run = restarts_;
  for (const ClipId& leaves : leaving_) {
    if (leaves == id) {
      Clip passing = std::move(*entering);
      entering.reset();
      if (!deliver(std::move(passing), stop)) return false;
      continue;
    }
    const auto held = held_.find(leaves);
    Clip leaver = std::move(held->second);
    held_.erase(held);
    counters_.leave_shuffle(1);
    const bool goes_on = deliver(std::move(leaver), stop);
    if (goes_on && run == restarts_) continue;
    // Stopped, or that was the last batch of `batches_per_epoch`: all that is held was dropped.
    if (entering) counters_.drop(goes_on ? DropReason::kUnequal : DropReason::kStopped, 1);
    return goes_on;
  }
  if (entering && run == restarts_) {
    if (!entering->reservation.move_to(shuffle_)) {
      counters_.drop(DropReason::kStopped, 1);
      return fail_run({ErrorCode::kInternal,
                       "the shuffle's share does not hold what its order does",
                       {},
                       {},
                       {}});
    }
    held_.emplace(id, std::move(*entering));
    counters_.enter_shuffle(1);
  }
  return true;
}

bool Batcher::on_unit_end(const UnitEnd& end) {
  end.sample->units_left -= end.units;
  if (end.sample->units_left > 0 || pass_ > 0) return true;
  ++samples_seen_;
  const std::optional<Error>& loss = end.sample->first_loss;
  if (!loss) {
    ++counters_.samples_complete;
    return judge(false);
  }
  counters_.note(*loss);
  if (!first_failure_) first_failure_ = loss;
  if (end.sample->clips_made > 0) {
    ++counters_.samples_partial;
  } else {
    ++samples_failed_;
    counters_.skip(loss->code);
  }
  return judge(false);
}

bool Batcher::on_failure(const FailureItem& failure) {
  if (pass_ > 0) {
    if (!first_failure_ && failure.of != FailureItem::Of::kFiltered) first_failure_ = failure.error;
    return true;
  }
  if (failure.of == FailureItem::Of::kFiltered) {
    ++counters_.samples_filtered;
    return true;
  }
  counters_.note(failure.error);
  if (!first_failure_) first_failure_ = failure.error;
  if (failure.of == FailureItem::Of::kShard) {
    ++counters_.shards_failed;
    ++shards_failed_;
  } else {
    ++samples_seen_;
    counters_.skip(failure.error.code);
    // Too short for a window is what short_policy = drop asks for, not damage.
    if (failure.of == FailureItem::Of::kTooShort) return judge(false);
    ++samples_failed_;
  }
  if (options_.input.on_error == OnError::kFail) return fail_run(failure.error);
  return judge(false);
}

bool Batcher::judge(bool at_end) {
  const double most = options_.input.max_skip_ratio;
  const auto beyond = [most](std::uint64_t failed, std::uint64_t of) {
    return static_cast<double>(failed) > most * static_cast<double>(of);
  };
  std::string what;
  if ((at_end || samples_seen_ >= kJudgedFrom) && beyond(samples_failed_, samples_seen_)) {
    what = fmt::format("{} of {} samples", samples_failed_, samples_seen_);
  } else if (at_end && beyond(shards_failed_, shards_)) {
    what = fmt::format("{} of {} shards", shards_failed_, shards_);
  }
  if (what.empty()) return true;
  return fail_run(
      {ErrorCode::kSkipRatio,
       fmt::format("{} failed in epoch {}, more than max_skip_ratio {} allows; the first: {}", what,
                   epoch_, most, first_failure_ ? first_failure_->describe() : "unknown"),
       {},
       {},
       {}});
}

bool Batcher::deliver(Clip clip, const std::stop_token& stop) {
  if (!storage_) {
    const Timed timed(counters_.batch_wait);
    storage_ = queue_.acquire(generation_, stop);
  }
  if (!storage_) {
    counters_.drop(DropReason::kStopped, 1);
    return false;
  }
  const std::uint64_t bytes = slot_bytes(options_.transform) * options_.window.num_frames;
  const std::uint64_t part = bytes * element_bytes(options_.transform.dtype);
  collate_clip(clip.pixels.bytes().first(bytes), options_.transform, options_.window.num_frames,
               {storage_->data() + infos_.size() * part, part});
  infos_.push_back(std::move(clip.info));
  if (pass_ > 0) ++counters_.clips_repeated;
  return infos_.size() < options_.batch.batch_size || push_batch();
}

bool Batcher::push_batch() {
  Batch batch(std::move(storage_), batch_shape(options_, infos_.size()), options_.transform.dtype,
              options_.transform.layout, device_);
  const std::uint64_t clips = infos_.size();
  batch.clips = std::exchange(infos_, {});
  batch.epoch = epoch_;
  batch.index = batches_++;
  if (!queue_.push(std::move(batch), generation_)) {
    counters_.drop(DropReason::kStopped, clips);
    return false;
  }
  if (!options_.batch.batches_per_epoch || batches_ < *options_.batch.batches_per_epoch)
    return true;
  drop_all(DropReason::kUnequal);
  counters_.drop(DropReason::kUnequal, events_.abandon_pass(generation_));
  return end_epoch();
}

bool Batcher::on_end_of_pass(const std::stop_token& stop) {
  leaving_.clear();
  order_.drain(leaving_);
  const std::uint64_t run = restarts_;
  for (const ClipId& id : std::exchange(leaving_, {})) {
    const auto held = held_.find(id);
    Clip clip = std::move(held->second);
    held_.erase(held);
    counters_.leave_shuffle(1);
    if (!deliver(std::move(clip), stop)) return false;
    if (run != restarts_) return true;  // that was the epoch's last batch; the rest was dropped
  }
  if (options_.batch.batches_per_epoch) {
    if (pass_ > 0 && clips_in_pass_ == 0) {
      return fail_run(
          {ErrorCode::kEmptyEpoch,
           fmt::format("epoch {} has to repeat its clips to fill batches_per_epoch {}, but reading "
                       "its shards again gave none{}",
                       epoch_, *options_.batch.batches_per_epoch,
                       first_failure_ ? "; the first failure: " + first_failure_->describe() : ""),
           {},
           {},
           {}});
    }
    clips_in_pass_ = 0;
    if (clips_in_epoch_ > 0) {
      if (pass_++ == 0 && !judge(true)) return false;
      order_.begin(epoch_);
      events_.repeat_pass(epoch_, generation_);
      return true;
    }
  } else if (!infos_.empty()) {
    if (options_.batch.drops_last()) {
      counters_.drop(DropReason::kDropLast, infos_.size());
      infos_.clear();
      storage_.reset();
    } else if (!push_batch()) {
      return false;
    }
  }
  return end_epoch();
}

bool Batcher::end_epoch() {
  if (pass_ == 0 && !judge(true)) return false;
  if (batches_ == 0) {
    return fail_run(
        {ErrorCode::kEmptyEpoch,
         clips_in_epoch_ > 0
             ? fmt::format("epoch {} delivered nothing: {} clips do not fill one batch of {}, and "
                           "drop_last drops the rest",
                           epoch_, clips_in_epoch_, options_.batch.batch_size)
             : fmt::format(
                   "epoch {} delivered nothing: {} samples were seen, {} filtered out, and no clip "
                   "was made{}",
                   epoch_, samples_seen_, counters_.samples_filtered.load(),
                   first_failure_ ? "; the first failure: " + first_failure_->describe() : ""),
         {},
         {},
         {}});
  }
  const std::uint64_t over = epoch_;
  if (!queue_.push(EpochOver{over}, generation_)) return false;
  restart(over + 1, generation_);
  events_.epoch_over(over, generation_);
  return true;
}

bool Batcher::fail_run(Error error) {
  counters_.note(error);
  drop_all(DropReason::kStopped);
  counters_.drop(DropReason::kStopped, events_.abandon_pass(generation_));
  queue_.push(std::move(error), generation_);
  return false;
}

}  // namespace shardreel
