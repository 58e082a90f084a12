#include "loader/pipeline/batcher.h"

#include <fmt/format.h>

#include <utility>

#include "loader/base/trace_range.h"
#include "loader/batch/collate.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kJudgedFrom = 100;  // samples: below that a ratio says nothing
constexpr std::uint64_t kSamplesSaid = 5;   // lost ones that an epoch names in the log
constexpr std::string_view kShardIs = "a shard is";

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
                 RankShare share, MemoryLedger& ledger, BatchQueue& queue, Counters& counters,
                 BatcherEvents events)
    : options_(options),
      device_(std::move(device)),
      shards_(share.shards),
      rank_(share.rank),
      ranks_(share.ranks),
      queue_(queue),
      counters_(counters),
      events_(std::move(events)),
      shuffle_(ledger, "shuffle", plan.lane_shuffle_bytes),
      order_(pixel_order_options(options, plan)) {}

void Batcher::restart(std::uint64_t epoch, std::uint64_t generation) {
  drop_all(DropReason::kStopped);
  ++restarts_;
  epoch_ = epoch;
  generation_ = generation;
  counts_ = {};
  reasons_ = {};
  samples_said_ = 0;
  notes_.clear();
  place_.reset();
  sample_.reset();
  in_unit_ = false;
  to_bring_back_ = 0;
  order_.begin(epoch);
}

void Batcher::resume(const LaneState& state) {
  counts_ = state.counts;
  order_ = state.pixels;
  to_bring_back_ = order_.size();
}

void Batcher::drop_all(DropReason reason) {
  counters_.drop(reason, held_.size() + infos_.size());
  counters_.leave_shuffle(held_.size());
  held_.clear();
  order_.begin(epoch_);
  infos_.clear();
  buffer_.reset();
}

bool Batcher::accept(LineItem item, const std::stop_token& stop) {
  if (auto* clip = std::get_if<ClipItem>(&item)) return on_clip(std::move(*clip), stop);
  if (const auto* unit = std::get_if<UnitEnd>(&item)) return on_unit_end(*unit);
  if (const auto* failure = std::get_if<FailureItem>(&item)) return on_failure(*failure);
  return on_end_of_pass(std::get<EndOfPass>(item), stop);
}

bool Batcher::on_clip(ClipItem item, const std::stop_token& stop) {
  if (item.mark->brings_back) return bring_back(std::move(item));
  note_place(item.mark, item.sample);
  if (item.result.lost) {
    ++taken_;
    const Error& lost = *item.result.lost;
    counters_.lose(lost.code);
    if (counts_.pass == 0) ++counts_.clips_lost;
    if (!item.sample->first_loss) item.sample->first_loss = lost;
    return options_.input.on_error == OnError::kSkip || fail_run(lost);
  }
  const std::uint64_t bytes = item.result.clip->item_bytes();
  if (options_.batch.shuffle == ShuffleMode::kAll && !order_.passes_by(bytes))
    return shuffle(std::move(item), stop);
  count_clip(item);
  return deliver(std::move(*item.result.clip), stop);
}

/// What the shuffle held when the state was taken comes in any order.
bool Batcher::bring_back(ClipItem item) {
  if (item.result.lost) {
    Error error = *item.result.lost;
    counters_.lose(error.code);
    error.message = "a clip that the state has cannot be made again: " + error.message;
    return fail_run(std::move(error));
  }
  Clip clip = std::move(*item.result.clip);
  if (to_bring_back_ == 0 || !clip.reservation.move_to(shuffle_)) {
    counters_.drop(DropReason::kStopped, 1);
    return fail_run({ErrorCode::kInternal,
                     "the clips that the state names take more memory than they did",
                     {},
                     {},
                     {}});
  }
  --to_bring_back_;
  const ClipId id = clip.info.id;
  held_.emplace(id, std::move(clip));
  counters_.enter_shuffle(1);
  return true;
}

void Batcher::count_clip(const ClipItem& item) {
  ++taken_;
  ++item.sample->clips_made;
  ++counts_.clips_in_epoch;
  ++counts_.clips_in_pass;
  if (item.result.padded) ++counters_.clips_padded;
}

/// Give one clip that the order lets go. False when nothing more can come of this generation.
bool Batcher::leave(const ClipId& id, const std::stop_token& stop) {
  const auto held = held_.find(id);
  Clip leaver = std::move(held->second);
  held_.erase(held);
  counters_.leave_shuffle(1);
  return deliver(std::move(leaver), stop);
}

/// A state taken while others leave for the clip's sake says that it has not come yet: it then
/// comes again, and the rest leave.
bool Batcher::shuffle(ClipItem item, const std::stop_token& stop) {
  const TraceRange range("shuffle");
  const ClipId id = item.result.clip->info.id;
  const std::uint64_t bytes = item.result.clip->item_bytes();
  const std::uint64_t run = restarts_;
  // What has to leave leaves first: its memory is what the new clip goes into.
  while (order_.must_leave_for(bytes)) {
    const ClipId leaver = order_.leave_for_room();
    note_step(OrderStep::Kind::kLeaveForRoom);
    const bool goes_on = leave(leaver, stop);
    if (goes_on && run == restarts_) continue;
    // Stopped, or that was the last batch of `batches_per_epoch`: all that is held was dropped.
    counters_.drop(goes_on ? DropReason::kUnequal : DropReason::kStopped, 1);
    return goes_on;
  }
  count_clip(item);
  const bool one_leaves = order_.enter(id, bytes, 1);
  note_step(OrderStep::Kind::kEnter, id, bytes);
  if (!item.result.clip->reservation.move_to(shuffle_)) {
    counters_.drop(DropReason::kStopped, 1);
    return fail_run({ErrorCode::kInternal,
                     "the shuffle's share does not hold what its order does",
                     {},
                     {},
                     {}});
  }
  held_.emplace(id, std::move(*item.result.clip));
  counters_.enter_shuffle(1);
  if (!one_leaves) return true;
  const ClipId leaver = order_.leave();
  note_step(OrderStep::Kind::kLeave);
  return leave(leaver, stop);
}

/// Note where an entry of the line stands, when its first item is looked at.
void Batcher::note_place(const std::shared_ptr<const LineMark>& mark,
                         std::shared_ptr<const SampleRecord> sample) {
  if (mark == place_) return;
  place_ = mark;
  sample_ = std::move(sample);
  in_unit_ = sample_ != nullptr;
  taken_ = mark->taken_before;
  notes_.emplace_back(mark);
}

void Batcher::note_step(OrderStep::Kind kind, const ClipId& id, std::uint64_t bytes) {
  notes_.emplace_back(OrderStep{kind, id, bytes, 1});
}

bool Batcher::on_unit_end(const UnitEnd& end) {
  if (end.mark->brings_back) return true;
  note_place(end.mark, end.sample);
  in_unit_ = false;
  end.sample->units_left -= end.units;
  end.sample->units_ended += end.units;
  SampleNews news{end.mark->sample, std::nullopt};
  if (end.sample->units_left > 0)
    news.progress = {end.sample->units_ended, end.sample->clips_made, end.sample->first_loss};
  notes_.emplace_back(std::move(news));
  if (end.sample->units_left > 0 || counts_.pass > 0) return true;
  ++counts_.samples_seen;
  const std::optional<Error>& loss = end.sample->first_loss;
  if (!loss) {
    ++counters_.samples_complete;
    return judge(false);
  }
  counters_.note(*loss);
  if (!counts_.first_failure) counts_.first_failure = loss;
  if (end.sample->clips_made > 0) {
    ++counters_.samples_partial;
    say_lost("clips of a sample are", *loss);
  } else {
    ++counts_.samples_failed;
    counters_.skip(loss->code);
    reasons_.sample_failed(*loss);
    say_lost("a sample is", *loss);
  }
  return judge(false);
}

bool Batcher::on_failure(const FailureItem& failure) {
  if (failure.of == FailureItem::Of::kState) return fail_run(failure.error);
  note_place(failure.mark, nullptr);
  if (counts_.pass > 0) {
    if (failure.of == FailureItem::Of::kFiltered) return true;
    if (!counts_.first_failure) counts_.first_failure = failure.error;
    failure.of == FailureItem::Of::kShard ? reasons_.shard_failed(failure.error)
                                          : reasons_.sample_failed(failure.error);
    return true;
  }
  if (failure.of == FailureItem::Of::kFiltered) {
    ++counters_.samples_filtered;
    reasons_.sample_filtered();
    return true;
  }
  counters_.note(failure.error);
  if (!counts_.first_failure) counts_.first_failure = failure.error;
  if (failure.of == FailureItem::Of::kShard) {
    ++counters_.shards_failed;
    ++counts_.shards_failed;
    reasons_.shard_failed(failure.error);
  } else {
    reasons_.sample_failed(failure.error);
    ++counts_.samples_seen;
    counters_.skip(failure.error.code);
    // Too short for a window is what short_policy = drop asks for, not damage.
    if (failure.of == FailureItem::Of::kTooShort) return judge(false);
    ++counts_.samples_failed;
  }
  if (options_.input.on_error == OnError::kFail) return fail_run(failure.error);
  say_lost(failure.of == FailureItem::Of::kShard ? kShardIs : "a sample is", failure.error);
  return judge(false);
}

/// Say every shard that is lost, and the first samples of an epoch.
void Batcher::say_lost(std::string_view what, const Error& error) {
  if (what != kShardIs && samples_said_++ >= kSamplesSaid) return;
  events_.warn(fmt::format("epoch {}: {} lost: {}", epoch_, what, error.describe()));
}

/// Say what the epoch lost, if it did: below `max_skip_ratio` nothing else would.
void Batcher::say_losses() const {
  if (counts_.samples_failed + counts_.shards_failed + counts_.clips_lost == 0) return;
  events_.warn(fmt::format("epoch {} lost {} of {} samples, {} clips and {} of {} shards{}", epoch_,
                           counts_.samples_failed, counts_.samples_seen, counts_.clips_lost,
                           counts_.shards_failed, shards_, why()));
}

bool Batcher::judge(bool at_end) {
  const double most = options_.input.max_skip_ratio;
  const auto beyond = [most](std::uint64_t failed, std::uint64_t of) {
    return static_cast<double>(failed) > most * static_cast<double>(of);
  };
  std::string what;
  const bool judged = at_end || counts_.samples_seen >= kJudgedFrom;
  // Only the first pass is judged: until then the epoch's clips are its own.
  const std::uint64_t clips = counts_.clips_in_epoch + counts_.clips_lost;
  if (judged && beyond(counts_.samples_failed, counts_.samples_seen)) {
    what = fmt::format("{} of {} samples", counts_.samples_failed, counts_.samples_seen);
  } else if (judged && beyond(counts_.clips_lost, clips)) {
    what = fmt::format("{} of {} clips", counts_.clips_lost, clips);
  } else if (at_end && beyond(counts_.shards_failed, shards_)) {
    what = fmt::format("{} of {} shards", counts_.shards_failed, shards_);
  }
  if (what.empty()) return true;
  return fail_run({ErrorCode::kSkipRatio,
                   fmt::format("{} failed in epoch {}, more than max_skip_ratio {} allows{}", what,
                               epoch_, most, why()),
                   {},
                   {},
                   {}});
}

/// What was lost, to go behind a message.
std::string Batcher::why() const {
  const std::string reasons = reasons_.describe();
  if (!reasons.empty()) return "; " + reasons;
  if (!counts_.first_failure) return {};
  return "; the first failure: " + counts_.first_failure->describe();
}

bool Batcher::deliver(Clip clip, const std::stop_token& stop) {
  if (!buffer_) {
    const Timed timed(counters_.batch_wait);
    auto buffer = queue_.acquire(generation_, stop);
    if (!buffer) {
      counters_.drop(DropReason::kStopped, 1);
      return fail_run(std::move(buffer.error()));
    }
    buffer_ = std::move(*buffer);
  }
  if (!buffer_) {
    counters_.drop(DropReason::kStopped, 1);
    return false;
  }
  if (auto written = write(clip); !written) {
    counters_.drop(DropReason::kStopped, 1);
    // Who stops while a device's copies are waited for is no failure of the run.
    return written.error().code != ErrorCode::kStopped && fail_run(std::move(written.error()));
  }
  infos_.push_back(std::move(clip.info));
  if (counts_.pass > 0) ++counters_.clips_repeated;
  return infos_.size() < options_.batch.batch_size || push_batch(stop);
}

/// Write a clip into the next place of the batch that is being made.
Result<void> Batcher::write(Clip& clip) {
  const TraceRange range("batch");
  const std::uint64_t bytes = elements_per_clip(options_);
  const std::uint64_t part = bytes * element_bytes(options_.transform.dtype);
  const std::uint64_t at = infos_.size() * part;
  if (clip.on_device) {
    const auto there = buffer_->take_there(*clip.on_device, at);
    if (!there) return there.error();
    if (*there) {
      ++counters_.clips_from_device;
      return {};
    }
    auto pixels = clip.on_device->take_down();
    if (!pixels) return pixels.error();
    clip.pixels = std::move(*pixels);
  }
  auto into = [&] {
    const Timed timed(counters_.batch_wait);
    return buffer_->part(at, part);
  }();
  if (!into) return into.error();
  collate_clip(clip.pixels.bytes().first(bytes), options_.transform, options_.window.num_frames,
               {*into, part});
  return {};
}

bool Batcher::push_batch(const std::stop_token& stop) {
  const std::uint64_t clips = infos_.size();
  auto storage = buffer_->finish(clips * elements_per_clip(options_) *
                                 element_bytes(options_.transform.dtype));
  buffer_.reset();
  if (!storage) return fail_run(std::move(storage.error()));
  Batch batch(std::move(*storage), batch_shape(options_, clips), options_.transform.dtype,
              options_.transform.layout, device_);
  batch.clips = std::exchange(infos_, {});
  batch.epoch = epoch_;
  batch.index = counts_.batches++;
  auto mark = std::make_unique<BatchMark>();
  mark->notes = std::exchange(notes_, {});
  if (in_unit_) {
    mark->current = {place_->sample,
                     place_->first_window,
                     taken_,
                     {sample_->units_ended, sample_->clips_made, sample_->first_loss}};
  }
  mark->counts = counts_;
  mark->epoch_complete =
      options_.batch.batches_per_epoch && counts_.batches >= *options_.batch.batches_per_epoch;
  if (!queue_.push(std::move(batch), generation_, std::move(mark))) {
    counters_.drop(DropReason::kStopped, clips);
    return false;
  }
  if (!options_.batch.batches_per_epoch || counts_.batches < *options_.batch.batches_per_epoch)
    return true;
  drop_all(DropReason::kUnequal);
  counters_.drop(DropReason::kUnequal, events_.abandon_pass(generation_));
  return end_epoch(stop);
}

bool Batcher::on_end_of_pass(const EndOfPass& end, const std::stop_token& stop) {
  note_place(end.mark, nullptr);
  reasons_.shards_empty(end.empty_shards);
  const std::uint64_t run = restarts_;
  while (order_.size() > 0) {
    const ClipId leaver = order_.leave();
    note_step(OrderStep::Kind::kLeave);
    if (!leave(leaver, stop)) return false;
    if (run != restarts_) return true;  // that was the epoch's last batch; the rest was dropped
  }
  if (options_.batch.batches_per_epoch) {
    if (counts_.pass > 0 && counts_.clips_in_pass == 0) {
      return fail_run(
          {ErrorCode::kEmptyEpoch,
           fmt::format("epoch {} has to repeat its clips to fill batches_per_epoch {}, but reading "
                       "its shards again gave none{}",
                       epoch_, *options_.batch.batches_per_epoch, why()),
           {},
           {},
           {}});
    }
    counts_.clips_in_pass = 0;
    if (counts_.clips_in_epoch > 0) {
      if (counts_.pass++ == 0 && !judge(true)) return false;
      order_.begin(epoch_);
      reasons_ = {};
      notes_.emplace_back(NewPass{});
      place_.reset();
      events_.repeat_pass(epoch_, generation_);
      return true;
    }
  } else if (!infos_.empty()) {
    if (options_.batch.drops_last()) {
      counters_.drop(DropReason::kDropLast, infos_.size());
      infos_.clear();
      buffer_.reset();
    } else if (!push_batch(stop)) {
      return false;
    }
  }
  return end_epoch(stop);
}

std::string Batcher::nothing_delivered() const {
  std::string what = fmt::format("epoch {} delivered nothing", epoch_);
  if (ranks_ > 1) what += fmt::format(" on rank {} of {}", rank_, ranks_);
  if (counts_.clips_in_epoch > 0) {
    return what +
           fmt::format(": {} clips do not fill one batch of {}, and drop_last drops the rest{}",
                       counts_.clips_in_epoch, options_.batch.batch_size, why());
  }
  return what +
         fmt::format(": of {} shards {} samples were seen, {} filtered out, and no clip was made{}",
                     shards_, counts_.samples_seen, reasons_.filtered(), why());
}

bool Batcher::end_epoch(const std::stop_token& stop) {
  if (counts_.pass == 0 && !judge(true)) return false;
  const bool empty = counts_.batches == 0;
  // What this rank has not, the others have: they would wait for a rank that fails.
  const bool may_be_empty = ranks_ > 1 && options_.batch.ranks == RankMode::kExact;
  if (empty && !may_be_empty) {
    std::string what = nothing_delivered();
    if (ranks_ > 1) what += "; with ranks = equal the other ranks wait for this one";
    return fail_run({ErrorCode::kEmptyEpoch, std::move(what), {}, {}, {}});
  }
  say_losses();
  if (empty) events_.warn(nothing_delivered());
  const std::uint64_t over = epoch_;
  if (!queue_.push(EpochOver{over}, generation_)) return false;
  // Batches run ahead of the consumer as far as there are buffers; these would without end.
  if (empty && !queue_.wait_until_taken(generation_, stop)) return false;
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
