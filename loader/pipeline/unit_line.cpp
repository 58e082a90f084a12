#include "loader/pipeline/unit_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "shardreel/units.h"

namespace shardreel {
namespace {

// Entries in the line at most. Memory bounds units long before; this bounds failures and empty
// ones.
constexpr std::size_t kMostEntries = 256;
// Entries that no decoder was given yet, at the beginning. One more for every two that were: else
// the feeder opens forty videos while the first batch waits for two, on the cores that decode them.
constexpr std::uint64_t kFirstAhead = 3;

/// Clips of a unit that hold memory at one time: those whose frames interleave.
std::uint64_t overlap(const Unit& unit) {
  std::uint64_t most = 1;
  std::size_t first = 0;
  for (std::size_t i = 0; i < unit.windows.size(); ++i) {
    const auto begin = std::ranges::min(unit.windows[i].frames);
    while (std::ranges::max(unit.windows[first].frames) < begin) ++first;
    most = std::max<std::uint64_t>(most, i - first + 1);
  }
  return most;
}

}  // namespace

void UnitJob::lose(const Error& error) {
  if (results.empty()) results.resize(unit.windows.size());
  for (auto& result : results) result.emplace().lost = error;
  done = true;
  unit.packets.reset();
  packets.release();
}

UnitLine::UnitLine(MemoryShare& decode, Waits waits, std::size_t most_ahead,
                   std::function<void()> wake)
    : decode_(decode), waits_(waits), most_ahead_(most_ahead), wake_(std::move(wake)) {
  decode_.on_release([this] {
    freed_.raise();
    wake_();
  });
}

bool UnitLine::push(std::shared_ptr<UnitJob> job, const std::stop_token& stop) {
  if (!job->done) job->results.resize(job->unit.windows.size());
  if (!push_entry({std::move(job)}, stop)) return false;
  wake_();
  return true;
}

bool UnitLine::push(FailureItem failure, const std::stop_token& stop) {
  return push_entry({std::move(failure)}, stop);
}

bool UnitLine::push(EndOfPass end, const std::stop_token& stop) {
  return push_entry({std::move(end)}, stop);
}

bool UnitLine::push_entry(Entry entry, const std::stop_token& stop) {
  {
    const MutexLock lock(mutex_);
    while (entries_.size() >= kMostEntries ||
           entries_.size() - dispatched_ >=
               std::min<std::uint64_t>(kFirstAhead + dispatched_ever_ / 2, most_ahead_)) {
      if (!changed_.wait(mutex_, stop)) return false;
    }
    // Decided under the lock that `clear` takes: nothing of a voided pass gets in behind it.
    if (stop.stop_requested()) return false;
    entries_.push_back(std::move(entry));
  }
  changed_.notify_all();
  return true;
}

/// What units before this one may still need for their next clips: whoever is behind leaves them
/// that much. Only the first of them needs it at any time, so the largest counts.
std::uint64_t UnitLine::spared_before(const UnitJob& job) const {
  std::uint64_t spared = 0;
  for (const Entry& entry : entries_) {
    const auto* before = std::get_if<std::shared_ptr<UnitJob>>(&entry.what);
    if (before == nullptr) continue;
    if (before->get() == &job) break;
    const UnitJob& other = **before;
    if (other.partly && !other.done && other.begun < other.unit.windows.size())
      spared = std::max(spared, other.open_bytes);
  }
  return spared;
}

/// Reserve, if what is spared for those before stays free.
std::optional<Reservation> UnitLine::reserve_behind(const UnitJob& job, std::uint64_t bytes,
                                                    MemoryTag tag) {
  if (bytes + spared_before(job) > decode_.capacity() - decode_.in_use()) return std::nullopt;
  return decode_.try_reserve(bytes, tag);
}

UnitLine::Grant UnitLine::grant(UnitJob& job, bool head) {
  const std::uint64_t clips = job.unit.windows.size();
  const std::uint64_t whole = job.decoder_bytes + clips * job.clip_bytes;
  job.open_bytes = std::min(clips, overlap(job.unit)) * job.clip_bytes;
  const std::uint64_t least = job.decoder_bytes + job.open_bytes;
  if (least > decode_.capacity()) return Grant::kNever;
  const bool by_clip = waits_ == Waits::kAny || whole > decode_.capacity();
  if (by_clip && waits_ == Waits::kHead && !head) return Grant::kNotNow;
  auto memory = reserve_behind(job, by_clip ? least : whole, MemoryTag::kDecode);
  if (!memory) return Grant::kNotNow;
  job.memory = std::move(*memory);
  job.partly = by_clip && least < whole;
  return Grant::kYes;
}

void UnitLine::fail_for_memory(UnitJob& job) {
  const Error error{
      ErrorCode::kMemory,
      fmt::format("decoding needs {} ({} bytes) for the decoder and {} for each of {} clips at a "
                  "time, but {} are set aside for decoding; raise memory_bytes or lower "
                  "shuffle_bytes",
                  format_bytes(job.decoder_bytes + overlap(job.unit) * job.clip_bytes),
                  job.decoder_bytes + overlap(job.unit) * job.clip_bytes,
                  format_bytes(job.clip_bytes), overlap(job.unit),
                  format_bytes(decode_.capacity())),
      job.sample->context.sample->shard,
      job.sample->context.sample->key,
      {}};
  job.lose(error);
}

std::shared_ptr<UnitJob> UnitLine::try_take() {
  bool changed = false;  // results for the lane, or room for the feeder
  std::shared_ptr<UnitJob> given;
  {
    const MutexLock lock(mutex_);
    while (!given && dispatched_ < entries_.size()) {
      auto* job = std::get_if<std::shared_ptr<UnitJob>>(&entries_[dispatched_].what);
      if (job != nullptr && !(*job)->done) {
        const Grant granted = grant(**job, dispatched_ == 0);
        if (granted == Grant::kNotNow) break;
        (*job)->dispatched = true;
        if (granted == Grant::kNever) {
          fail_for_memory(**job);
        } else {
          (*job)->stop = running_.get_token();
          given = *job;
        }
      }
      ++dispatched_;
      ++dispatched_ever_;
      changed = true;
    }
  }
  if (changed) changed_.notify_all();
  return given;
}

Result<Reservation> UnitLine::begin_clip(UnitJob& job) {
  Reservation clip;
  for (;;) {
    const std::uint64_t seen = freed_.version();
    {
      const MutexLock lock(mutex_);
      if (auto taken = take_clip(job)) {
        clip = std::move(*taken);
        break;
      }
    }
    if (!freed_.wait(seen, job.stop))
      return Error{ErrorCode::kStopped, "stopped while waiting for memory", {}, {}, {}};
  }
  // What was spared for it is there for others now.
  if (job.partly && job.begun == job.unit.windows.size()) {
    freed_.raise();
    wake_();
  }
  return clip;
}

/// The next clip's part of what the unit was granted, or more, while the decoder's own part stays.
std::optional<Reservation> UnitLine::take_clip(UnitJob& job) {
  std::optional<Reservation> clip;
  if (job.memory.bytes() >= job.decoder_bytes + job.clip_bytes) {
    clip = job.memory.split(job.clip_bytes, MemoryTag::kClip);
  } else {
    clip = reserve_behind(job, job.clip_bytes, MemoryTag::kClip);
  }
  if (clip) ++job.begun;
  return clip;
}

void UnitLine::emit(UnitJob& job, std::size_t clip, ClipResult result) {
  {
    const MutexLock lock(mutex_);
    job.results[clip] = std::move(result);
  }
  changed_.notify_all();
}

void UnitLine::finish(UnitJob& job) {
  job.unit.packets.reset();
  job.packets.release();
  job.memory.release();
  {
    const MutexLock lock(mutex_);
    job.done = true;
  }
  changed_.notify_all();
  wake_();
}

std::optional<LineItem> UnitLine::next(const std::stop_token& stop) {
  std::optional<LineItem> item;
  while (!item) {
    {
      const MutexLock lock(mutex_);
      if (stop.stop_requested()) return std::nullopt;
      if (std::exchange(tell_cleared_, false)) return Cleared{};
      if (entries_.empty()) {
        if (!changed_.wait(mutex_, stop)) return std::nullopt;
        continue;
      }
      auto& front = entries_.front().what;
      if (auto* failure = std::get_if<FailureItem>(&front)) {
        item = std::move(*failure);
      } else if (auto* end = std::get_if<EndOfPass>(&front)) {
        item = *end;
      } else {
        UnitJob& job = *std::get<std::shared_ptr<UnitJob>>(front);
        if (job.taken < job.results.size() && job.results[job.taken]) {
          return ClipItem{std::move(*job.results[job.taken++]), job.sample, job.mark};
        }
        if (job.taken < job.results.size() || !job.done) {
          if (!changed_.wait(mutex_, stop)) return std::nullopt;
          continue;
        }
        if (!job.goes_on) item = UnitEnd{job.sample, job.units, job.mark};
      }
      entries_.pop_front();
      if (dispatched_ > 0) {
        --dispatched_;
      } else {
        ++dispatched_ever_;  // nothing that decodes
      }
    }
    changed_.notify_all();  // room for the feeder
    freed_.raise();         // another head, which leaves nothing to others
    wake_();
  }
  return item;
}

std::uint64_t UnitLine::clear(bool tell) {
  std::deque<Entry> voided;  // destroyed without the lock: it gives memory back, which wakes others
  std::uint64_t clips = 0;
  {
    const MutexLock lock(mutex_);
    running_.request_stop();
    running_ = std::stop_source();
    voided.swap(entries_);
    dispatched_ = 0;
    tell_cleared_ = tell;
    for (const Entry& entry : voided) {
      if (const auto* job = std::get_if<std::shared_ptr<UnitJob>>(&entry.what)) {
        clips += (*job)->results.size() - (*job)->taken;
      }
    }
  }
  changed_.notify_all();
  freed_.raise();
  return clips;
}

}  // namespace shardreel
