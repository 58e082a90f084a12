// Resuming a pass: what the state says that was held or open is read again and put back.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "loader/pipeline/video_feed.h"
#include "loader/read/http/http_url.h"

namespace shardreel {
namespace {

/// Keep of a unit only the clips that `wanted` says, by their place in it. Its packets stay: the
/// decoder sees what it saw, so that every clip comes out as it did.
template <typename Wanted>
void keep_clips(Unit& unit, const Wanted& wanted) {
  std::vector<std::optional<std::uint32_t>> place(unit.windows.size());
  std::uint32_t kept = 0;
  for (std::size_t i = 0; i < unit.windows.size(); ++i) {
    if (!wanted(i)) continue;
    place[i] = kept;
    if (kept != i) {
      unit.windows[kept] = std::move(unit.windows[i]);
      unit.pts_seconds[kept] = std::move(unit.pts_seconds[i]);
    }
    ++kept;
  }
  unit.windows.resize(kept);
  unit.pts_seconds.resize(kept);
  for (WantedFrame& frame : unit.wanted) {
    std::vector<SlotRef> slots;
    for (const SlotRef& slot : frame.slots) {
      if (place[slot.clip]) slots.push_back({*place[slot.clip], slot.slot});
    }
    frame.slots = std::move(slots);
  }
  std::erase_if(unit.wanted, [](const WantedFrame& frame) { return frame.slots.empty(); });
}

SampleKey key_of(const ClipId& id) { return {id.shard, id.sample}; }

/// Shard number -> ordinals.
template <typename Samples>
std::map<std::uint64_t, std::set<std::uint64_t>> by_shard(const Samples& samples) {
  std::map<std::uint64_t, std::set<std::uint64_t>> shards;
  for (const SampleKey& key : samples) shards[key.first].insert(key.second);
  return shards;
}

}  // namespace

bool VideoFeed::not_as_it_was(const std::string& what, const std::stop_token& stop) {
  line_.push(
      FailureItem{
          {ErrorCode::kInvalidOption, "the state does not fit these shards: " + what, {}, {}, {}},
          FailureItem::Of::kState,
          nullptr},
      stop);
  return false;
}

/// A shard that was written anew under its name may have samples of the same ordinals and windows,
/// and clips that are not those that the run had.
bool VideoFeed::shards_are_as_they_were(const LaneState& from, const std::stop_token& stop) {
  for (const auto& [shard, was] : from.contents) {
    if (shard >= reading_.shards().size())
      return not_as_it_was(fmt::format("there is no shard number {}", shard), stop);
    const std::string name = redacted(reading_.shards().at(shard));
    const auto now = reading_.look_at(shard, stop);
    if (!now) {
      return not_as_it_was(
          fmt::format("shard {} cannot be opened: {}", name, now.error().describe()), stop);
    }
    if (*now && was.differs(**now)) {
      return not_as_it_was(fmt::format("shard {} was written anew: it had {} when the state was "
                                       "taken, and has {} now",
                                       name, was.describe(), (*now)->describe()),
                           stop);
    }
  }
  return true;
}

/// Read these samples once more, shard by shard in the list's order, and look at each.
bool VideoFeed::fetch(const std::map<std::uint64_t, std::set<std::uint64_t>>& wanted,
                      const SampleStreamOptions& reading, const std::stop_token& stop,
                      const std::function<bool(SampleKey, Looked)>& take) {
  for (const auto& [shard, ordinals] : wanted) {
    if (shard >= reading_.shards().size())
      return not_as_it_was(fmt::format("there is no shard number {}", shard), stop);
    auto missing = ordinals;
    const auto news = std::make_shared<Signal>();  // shared with the slot's jobs
    ShardSlotOptions options = slot_options(reading_.options(), reading);
    // A copy: a job of the slot may outlive this.
    options.wants_ordinal = [copy = ordinals](std::uint64_t ordinal) {
      return copy.contains(ordinal);
    };
    const auto slot = reading_.open_slot(shard, std::move(options), news, stop);
    slot->start();
    bool goes_on = true;
    std::string failure = "it has no such sample";
    while (goes_on && !missing.empty()) {
      const std::uint64_t seen = news->version();
      SampleEvent event{shard, {}};
      const auto state = slot->pop(event.item);
      if (state == ShardSlot::State::kEnd) break;
      if (state == ShardSlot::State::kLater) {
        goes_on = news->wait(seen, stop);
        continue;
      }
      if (event.item.failure) {
        failure = event.item.failure->error.describe();
        if (event.item.failure->fatal) break;
        continue;
      }
      const std::uint64_t ordinal = event.item.sample->ordinal;
      if (missing.erase(ordinal) == 0) continue;
      auto looked = look_at(std::move(event), stop);
      goes_on = looked && take({shard, ordinal}, std::move(*looked));
    }
    slot->cancel();
    if (!goes_on) return false;
    if (!missing.empty()) {
      return not_as_it_was(fmt::format("sample {} of shard {} is needed again: {}",
                                       *missing.begin(), reading_.shards().at(shard), failure),
                           stop);
    }
  }
  return true;
}

void VideoFeed::skip_unit(OpenVideo& video, const UnitOutline& outline) {
  video.file->skip_units(1);
  ++video.units_done;
  --video.units_left;
  video.clips_left -= std::min<std::size_t>(video.clips_left, outline.clips);
}

/// Give the sample the record that all its units have in common, as far as it got.
void VideoFeed::share_record(const LaneState& from, const SampleKey& key, OpenVideo& video) {
  auto& record = records_[key];
  if (!record) {
    record = video.sample;
    const auto known = from.samples.find(key);
    SampleProgress progress = known != from.samples.end() ? known->second : SampleProgress();
    if (from.current && from.current->sample == key) progress = from.current->progress;
    record->units_left -= std::min(record->units_left, progress.units_ended);
    record->units_ended = progress.units_ended;
    record->clips_made = progress.clips_made;
    record->first_loss = progress.first_loss;
  }
  video.sample = record;
}

bool VideoFeed::resume(const LaneState& from, const SampleStreamOptions& reading,
                       const std::stop_token& stop) {
  if (!shards_are_as_they_were(from, stop)) return false;
  records_.clear();
  std::map<SampleKey, Needed> needed;
  for (const ClipId& id : from.pixels.held()) needed[key_of(id)].windows.insert(id.window);
  for (const ClipId& id : from.packets.held()) needed[key_of(id)].units.insert(id.window);
  if (tier_) tier_->order() = from.packets;
  const auto keys = [&needed] {
    std::vector<SampleKey> all;
    for (const auto& [key, what] : needed) all.push_back(key);
    return all;
  }();
  // One video at a time, so that the videos that stay open find room afterwards.
  if (!fetch(by_shard(keys), reading, stop, [&](const SampleKey& key, Looked looked) {
        return bring_back(from, key, std::move(looked), needed.at(key), stop);
      }))
    return false;
  if (from.current) {
    const std::vector<SampleKey> one{from.current->sample};
    if (!fetch(by_shard(one), reading, stop, [&](const SampleKey&, Looked looked) {
          return resume_unit(from, std::move(looked), stop);
        }))
      return false;
  }
  turn_ = from.feed.turn;
  slots_.resize(from.feed.slots.size());
  std::map<SampleKey, std::size_t> open;
  std::vector<SampleKey> samples;
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (!from.feed.slots[i].open) continue;
    open[from.feed.slots[i].sample] = i;
    samples.push_back(from.feed.slots[i].sample);
  }
  const bool there = fetch(by_shard(samples), reading, stop, [&](SampleKey key, Looked looked) {
    const std::size_t at = open.at(key);
    if (looked.refused)
      return not_as_it_was("a video gives no clips any more: " + looked.refused->error.describe(),
                           stop);
    share_record(from, key, looked.video);
    for (std::uint64_t i = 0; i < from.feed.slots[at].units_done; ++i) {
      if (looked.video.units_left <= 1)
        return not_as_it_was(fmt::format("sample {} of shard {} has fewer units", key.second,
                                         reading_.shards().at(key.first)),
                             stop);
      skip_unit(looked.video, looked.video.file->outline_next());
    }
    counters_.clips_cut += looked.video.clips_left;
    slots_[at] = std::move(looked.video);
    return true;
  });
  records_.clear();
  return there;
}

/// Put back what the tiers held of one sample.
bool VideoFeed::bring_back(const LaneState& from, const SampleKey& key, Looked looked,
                           const Needed& needed, const std::stop_token& stop) {
  if (looked.refused)
    return not_as_it_was("a video gives no clips any more: " + looked.refused->error.describe(),
                         stop);
  OpenVideo& video = looked.video;
  auto alone = video.sample;  // of the clips that were counted already
  if (!needed.units.empty()) {
    alone = std::make_shared<SampleRecord>(*video.sample);
    share_record(from, key, video);
  }
  auto place = std::make_shared<LineMark>();
  place->brings_back = true;
  std::size_t first = 0;  // window of the unit
  std::size_t windows = 0, units = 0;
  while (video.file && video.units_left > 0) {
    const UnitOutline outline = video.file->outline_next();
    const auto wanted = [&](std::size_t i) {
      return needed.windows.contains(looked.windows[first + i]);
    };
    std::size_t wanted_clips = 0;
    for (std::size_t i = 0; i < outline.clips; ++i) wanted_clips += wanted(i) ? 1 : 0;
    const bool waits = needed.units.contains(outline.first_window);
    if (waits || wanted_clips > 0) {
      auto job = cut_unit(video, outline, stop);
      if (job == nullptr) return false;
      if (job->done)
        return not_as_it_was("a video cannot be read: " + job->results[0]->lost->describe(), stop);
      if (waits) {
        ClipId id = job->sample->context.id;
        id.window = outline.first_window;
        counters_.clips_cut += job->clips();
        const std::uint64_t bytes = tier_->item_bytes(outline, *job->sample->context.sample);
        tier_->put(id, std::move(job), bytes);
        ++units;
      } else {
        keep_clips(job->unit, wanted);
        job->sample = alone;
        job->mark = place;
        counters_.clips_cut += wanted_clips;
        windows += wanted_clips;
        if (!push_marked(std::move(job), stop)) return false;
      }
    } else {
      skip_unit(video, outline);
    }
    first += outline.clips;
  }
  if (windows == needed.windows.size() && units == needed.units.size()) return true;
  return not_as_it_was(fmt::format("sample {} of shard {} has other windows", key.second,
                                   reading_.shards().at(key.first)),
                       stop);
}

/// The unit that the lane was in the middle of: what it had not taken yet.
bool VideoFeed::resume_unit(const LaneState& from, Looked looked, const std::stop_token& stop) {
  const CurrentUnit& current = *from.current;
  OpenVideo& video = looked.video;
  while (!looked.refused && video.units_left > 0) {
    const UnitOutline outline = video.file->outline_next();
    if (outline.first_window != current.first_window) {
      skip_unit(video, outline);
      continue;
    }
    share_record(from, current.sample, video);
    auto job = cut_unit(video, outline, stop);
    if (job == nullptr) return false;
    auto place = std::make_shared<LineMark>();
    place->after = from.feed;
    place->sample = current.sample;
    place->first_window = current.first_window;
    place->taken_before = current.taken;
    job->mark = std::move(place);
    if (!job->done) {
      keep_clips(job->unit, [&](std::size_t i) { return i >= current.taken; });
      if (job->unit.windows.empty()) {  // only its end has not been seen
        job->unit.packets.reset();
        job->packets.release();
        job->done = true;
      }
    }
    counters_.clips_cut += job->clips();
    return push_marked(std::move(job), stop);
  }
  return not_as_it_was(
      fmt::format("sample {} of shard {} has no unit that begins with window {}",
                  current.sample.second, reading_.shards().at(current.sample.first),
                  current.first_window),
      stop);
}

}  // namespace shardreel
