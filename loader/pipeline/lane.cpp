#include "loader/pipeline/lane.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "loader/base/name_thread.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kEndless = std::numeric_limits<std::uint64_t>::max();

std::uint64_t shards_of(std::uint64_t shards, std::uint64_t rank, std::uint64_t world) {
  return shards < world ? shards : (shards - rank + world - 1) / world;
}

std::uint64_t epochs_of(const LoaderOptions& options) {
  return options.batch.epochs == 0 ? kEndless : options.batch.epochs;
}

/// Units that wait for a decoder. A unit is found and described in a fraction of the time in which
/// it is decoded, so a few for each thread are plenty; a description takes tens of kilobytes, which
/// no share counts.
std::size_t units_ahead(std::uint64_t decode_threads) {
  return std::max<std::size_t>(32, 4 * decode_threads);
}

}  // namespace

Lane::Lane(LaneContext context, std::string device, std::unique_ptr<BatchBuffers> buffers,
           std::uint64_t rank, std::uint64_t world)
    : context_(std::move(context)),
      rank_(rank),
      world_(world),
      decode_(context_.ledger, "decode", context_.plan.lane_decode_bytes),
      // A thread that waits for this lane's consumer must not be missed by another lane.
      line_(decode_, context_.plan.lanes == 1 ? UnitLine::Waits::kAny : UnitLine::Waits::kHead,
            units_ahead(context_.options.resource.decode_threads),
            [this] { context_.work.raise(); }),
      queue_(context_.ledger, std::move(buffers),
             [this, device] {
               context_.warn(fmt::format(
                   "lane {}: the consumer keeps more than held_batches = {} batches; further ones "
                   "are allocated beyond the memory plan (counted as held)",
                   device, context_.options.batch.held_batches));
             }),
      feed_(context_.options, context_.plan, context_.reading, context_.ledger,
            context_.packet_pages, line_, context_.counters),
      batcher_(
          context_.options, context_.plan, device,
          {rank, world, shards_of(context_.reading.shards().size(), rank, world)}, context_.ledger,
          queue_, context_.counters,
          {.abandon_pass = [this](auto generation) { return abandon_pass(generation); },
           .repeat_pass = [this](auto epoch, auto generation) { repeat_pass(epoch, generation); },
           .epoch_over = [this](auto epoch, auto generation) { epoch_over(epoch, generation); },
           .warn = [this](std::string_view text) { context_.warn(text); }}),
      first_epoch_(context_.options.batch.epoch),
      next_feed_(first_epoch_),
      // With batches_per_epoch the next pass depends on what this one gives: one at a time.
      feeds_left_(context_.options.batch.batches_per_epoch ? 1 : epochs_of(context_.options)),
      epochs_left_(epochs_of(context_.options)),
      to_take_(epochs_left_),
      taking_(first_epoch_),
      state_(pixel_order_options(context_.options, context_.plan),
             tier_order_options(context_.options, context_.plan)) {
  state_.begin(first_epoch_);
}

void Lane::start(const LaneState* from) {
  {
    const MutexLock lock(mutex_);
    if (from != nullptr) resume(*from);
    batcher_.restart(first_epoch_, generation_);
    if (from_ != nullptr) batcher_.resume(*from_);
  }
  feeder_ = std::jthread([this] {
    name_thread("sr-demux");
    guarded([this] { feed(stop_.get_token()); });
  });
  runner_ = std::jthread([this] {
    name_thread("sr-lane");
    guarded([this] { run(stop_.get_token()); });
  });
}

void Lane::resume(const LaneState& from) {
  state_ = from;
  if (epochs_left_ != kEndless) epochs_left_ -= std::min(epochs_left_, from.epochs_taken);
  to_take_ = epochs_left_;
  first_epoch_ = taking_ = from.epoch;
  if (from.epoch_complete) {
    queue_.push(EpochOver{from.epoch}, generation_);
    ++first_epoch_;
    if (epochs_left_ != kEndless && epochs_left_ > 0) --epochs_left_;
  } else if (from.begun && epochs_left_ > 0) {
    from_ = std::make_unique<const LaneState>(from);
  }
  next_feed_ = first_epoch_;
  feeds_left_ = context_.options.batch.batches_per_epoch ? std::min<std::uint64_t>(1, epochs_left_)
                                                         : epochs_left_;
  if (epochs_left_ == 0) queue_.push(RunOver{}, generation_);
}

LaneState Lane::state() const {
  const MutexLock lock(mutex_);
  return state_;
}

void Lane::interrupt() noexcept {
  stop_.request_stop();
  {
    const MutexLock lock(mutex_);
    pass_stop_.request_stop();
  }
  changed_.notify_all();
  context_.counters.drop(DropReason::kStopped, line_.clear(false));
}

void Lane::stop() noexcept {
  interrupt();
  if (feeder_.joinable()) feeder_.join();
  if (!runner_.joinable()) return;
  runner_.join();
  batcher_.drop_all(DropReason::kStopped);
  context_.counters.drop(DropReason::kStopped, queue_.restart(kEndless));
}

bool Lane::await_pass(Pass& pass, const std::stop_token& stop) {
  const MutexLock lock(mutex_);
  while (feeds_left_ == 0) {
    if (!changed_.wait(mutex_, stop)) return false;
  }
  if (stop.stop_requested()) return false;
  if (feeds_left_ != kEndless) --feeds_left_;
  pass = {next_feed_++, pass_stop_.get_token(), std::move(from_)};
  pass_end_ = DropReason::kStopped;
  return true;
}

/// What a thread throws (no memory, no threads) ends the lane's run as a failure, not the process.
void Lane::guarded(const std::function<void()>& body) noexcept {
  try {
    body();
  } catch (const std::exception& error) {
    queue_.push(
        Error{
            ErrorCode::kInternal, std::string("a thread of the lane: ") + error.what(), {}, {}, {}},
        queue_.generation());
  }
}

void Lane::feed(const std::stop_token& stop) {
  Pass pass;
  while (await_pass(pass, stop)) {
    const std::uint64_t left =
        feed_.run_pass(pass.epoch, rank_, world_, pass.from.get(), pass.stop);
    const MutexLock lock(mutex_);
    context_.counters.drop(pass_end_, left);
  }
}

void Lane::run(const std::stop_token& stop) {
  bool accepting = true;
  while (auto item = line_.next(stop)) {
    if (std::holds_alternative<Cleared>(*item)) {
      const MutexLock lock(mutex_);
      batcher_.restart(first_epoch_, generation_);
      accepting = true;
    } else if (accepting) {
      accepting = batcher_.accept(std::move(*item), stop);
    } else if (const auto* clip = std::get_if<ClipItem>(&*item)) {
      // Between the end of a generation and the news of the next one.
      if (clip->result.clip) context_.counters.drop(DropReason::kStopped, 1);
      if (clip->result.lost) context_.counters.lose(clip->result.lost->code);
    }
  }
}

// The line is cleared under the lane's mutex, here and in `set_epoch`: the feeder cannot begin the
// next pass meanwhile, or its first units would be cleared with the old ones.
std::uint64_t Lane::abandon_pass(std::uint64_t generation) {
  const MutexLock lock(mutex_);
  if (generation != generation_) return 0;
  pass_stop_.request_stop();
  pass_stop_ = std::stop_source();
  pass_end_ = DropReason::kUnequal;
  feeds_left_ = 0;
  return line_.clear(false);
}

void Lane::repeat_pass(std::uint64_t epoch, std::uint64_t generation) {
  const MutexLock lock(mutex_);
  if (generation != generation_) return;
  next_feed_ = epoch;
  feeds_left_ = 1;
  changed_.notify_all();
}

void Lane::epoch_over(std::uint64_t epoch, std::uint64_t generation) {
  const MutexLock lock(mutex_);
  if (generation != generation_) return;
  if (epochs_left_ != kEndless) --epochs_left_;
  if (epochs_left_ == 0) {
    queue_.push(RunOver{}, generation);
  } else if (context_.options.batch.batches_per_epoch) {
    next_feed_ = epoch + 1;
    feeds_left_ = 1;
    changed_.notify_all();
  }
}

void Lane::set_epoch(std::uint64_t epoch) {
  const MutexLock lock(mutex_);
  ++generation_;
  pass_stop_.request_stop();
  pass_stop_ = std::stop_source();
  pass_end_ = DropReason::kStopped;
  context_.counters.drop(DropReason::kStopped, queue_.restart(generation_));
  context_.counters.drop(DropReason::kStopped, line_.clear(true));
  first_epoch_ = next_feed_ = taking_ = epoch;
  from_.reset();
  state_.begin(epoch);
  // What the consumer has taken counts, not how far ahead the lane was.
  if (to_take_ == 0) --state_.epochs_taken;
  to_take_ = epochs_left_ = std::max<std::uint64_t>(1, to_take_);
  feeds_left_ = context_.options.batch.batches_per_epoch ? 1 : epochs_left_;
  changed_.notify_all();
}

std::uint64_t Lane::epoch() const {
  const MutexLock lock(mutex_);
  return taking_;
}

std::optional<Batch> Lane::next() {
  std::optional<BatchItem> item;
  std::unique_ptr<BatchMark> mark;
  {
    {
      const MutexLock lock(mutex_);
      if (!waiting_since_) waiting_since_ = std::chrono::steady_clock::now();
    }
    const Timed timed(context_.counters.consumer_wait);
    item = queue_.take(stop_.get_token(), &mark);
    const MutexLock lock(mutex_);
    waiting_since_.reset();
  }
  if (!item) throw ShardreelError({ErrorCode::kStopped, "the loader was stopped", {}, {}, {}});
  if (auto* batch = std::get_if<Batch>(&*item)) {
    ++delivered_;
    ++context_.counters.batches;
    context_.counters.clips += batch->size();
    context_.counters.frames += batch->size() * context_.options.window.num_frames;
    const MutexLock lock(mutex_);
    // Not if another epoch was set meanwhile.
    if (mark != nullptr && batch->epoch == state_.epoch) state_.apply(*mark);
    return std::move(*batch);
  }
  if (const auto* over = std::get_if<EpochOver>(&*item)) {
    const MutexLock lock(mutex_);
    taking_ = over->epoch + 1;
    state_.begin(taking_);
    ++state_.epochs_taken;
    if (to_take_ != kEndless && to_take_ > 0) --to_take_;
    return std::nullopt;
  }
  if (const auto* error = std::get_if<Error>(&*item)) throw ShardreelError(*error);
  return std::nullopt;
}

bool Lane::wait(std::chrono::milliseconds most) {
  {
    const MutexLock lock(mutex_);
    if (!waiting_since_) waiting_since_ = std::chrono::steady_clock::now();
  }
  const Timed timed(context_.counters.consumer_wait);
  const bool there = queue_.wait_until(std::chrono::steady_clock::now() + most, stop_.get_token());
  if (there) {
    const MutexLock lock(mutex_);
    waiting_since_.reset();
  }
  return there;
}

std::string Lane::stalled(std::chrono::seconds least) const {
  {
    const MutexLock lock(mutex_);
    if (!waiting_since_ || std::chrono::steady_clock::now() - *waiting_since_ < least) return {};
  }
  const std::string shard = feed_.waiting_for();
  return shard.empty() ? "decoding" : shard;
}

}  // namespace shardreel
