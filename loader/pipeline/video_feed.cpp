#include "loader/pipeline/video_feed.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

#include "loader/media/frame_converter.h"
#include "loader/read/video_names.h"
#include "shardreel/units.h"

namespace shardreel {
namespace {

/// Clips that enter before the first batch of an epoch has left.
std::uint64_t clips_before_first_batch(const LoaderOptions& options) {
  const std::uint64_t batch = options.batch.batch_size;
  // While the shuffle fills, one leaves for every two that enter.
  if (options.batch.shuffle == ShuffleMode::kAll) return options.resource.min_fill + 2 * batch;
  return batch;
}

/// What a picture may take that only the stream itself tells of. An eighth is left for the
/// converter's rows and the clips' fields.
std::uint64_t most_decoder_bytes(const MemoryPlan& plan) {
  const std::uint64_t clips = plan.open_clips * plan.clip_bytes;
  return (plan.lane_decode_bytes - std::min(clips, plan.lane_decode_bytes)) / 8 * 7;
}

}  // namespace

VideoFeed::VideoFeed(const LoaderOptions& options, const MemoryPlan& plan, ReadService& reading,
                     MemoryLedger& ledger, BlockPool& packet_pages, UnitLine& line,
                     Counters& counters)
    : options_(options),
      plan_(plan),
      reading_(reading),
      line_(line),
      counters_(counters),
      filter_(SampleFilter::parse(options.input.filter).value()),
      videos_(ledger, "open videos", plan.video_bytes),
      packets_(ledger, "packets", plan.packet_bytes) {
  packets_.on_release([this] { freed_.raise(); });
  videos_.on_release([this] { freed_.raise(); });
  if (plan.lane_packet_tier_bytes > 0) tier_.emplace(options, plan, ledger, packet_pages, counters);
}

std::string VideoFeed::waiting_for() const {
  const MutexLock lock(mutex_);
  return samples_ != nullptr ? samples_->waiting_for() : std::string();
}

std::uint64_t VideoFeed::run_pass(std::uint64_t epoch, std::uint64_t rank, std::uint64_t world,
                                  const LaneState* from, const std::stop_token& stop) {
  epoch_ = epoch;
  clips_unpushed_ = 0;
  clips_urgent_ = from == nullptr ? clips_before_first_batch(options_) : 0;
  turn_ = 0;
  drains_ = false;
  tier_steps_.clear();
  slots_.clear();
  if (tier_) tier_->order().begin(epoch);
  SampleStreamOptions reading{.share = plan_shards(reading_.shards().size(), options_.batch.shuffle,
                                                   options_.batch.seed, epoch, rank, world),
                              .shard_bytes = plan_.shard_bytes,
                              .inline_bytes = plan_.inline_bytes};
  if (filter_.looks_at_key())
    reading.wants_key = [filter = filter_](const auto& key) { return filter.accepts_key(key); };
  bool goes_on = true;
  if (from != nullptr) {
    goes_on = resume(*from, reading, stop);
    reading.from = from->feed.stream;
  } else {
    slots_.resize(options_.input.open_videos);
  }
  if (goes_on) {
    SampleStream samples(reading_, std::move(reading), stop);
    {
      const MutexLock lock(mutex_);
      samples_ = &samples;
    }
    stream_ = &samples;
    walk(samples, stop);
    drain_tier(stop);
    if (!stop.stop_requested()) {
      auto last = mark(Turn::kGoesOn);
      last->after.ended = true;
      line_.push(EndOfPass{epoch, std::move(last), samples.empty_shards()}, stop);
    }
    stream_ = nullptr;
    const MutexLock lock(mutex_);
    samples_ = nullptr;
  }
  std::uint64_t left = clips_unpushed_ + (tier_ ? tier_->clear() : 0);
  for (const OpenVideo& slot : slots_) left += slot.clips_left;
  slots_.clear();
  return left;
}

void VideoFeed::walk(SampleStream& samples, const std::stop_token& stop) {
  // A slot that finds no sample any more never will: the stream is over.
  while (!slots_.empty() && !stop.stop_requested()) {
    OpenVideo& slot = slots_[turn_];
    if (!slot.file && !open_next(slot, samples, stop)) {
      slots_.erase(slots_.begin() + static_cast<std::ptrdiff_t>(turn_));
      if (turn_ == slots_.size()) turn_ = 0;
      continue;
    }
    if (!push_unit(slot, stop)) break;
    turn_ = (turn_ + 1) % slots_.size();
  }
}

void VideoFeed::drain_tier(const std::stop_token& stop) {
  drains_ = true;
  while (tier_ && tier_->order().size() > 0 && !stop.stop_requested()) {
    const ClipId id = tier_->order().leave();
    tier_step(OrderStep::Kind::kLeave);
    if (!push_leaving(id, Turn::kGoesOn, stop)) return;
  }
}

/// Where the feed stands behind what is pushed now. The turn goes on, or is over; without a cut,
/// the unit whose turn it is has been told to the tier but is not read yet.
std::shared_ptr<LineMark> VideoFeed::mark(Turn turn) {
  auto mark = std::make_shared<LineMark>();
  mark->tier = std::exchange(tier_steps_, {});
  FeedPosition& after = mark->after;
  after.stream = stream_->position();
  after.drains = drains_;
  after.turn = turn_;
  for (const OpenVideo& slot : slots_) {
    FeedPosition::Slot& place = after.slots.emplace_back();
    if (!slot.file) continue;
    const ClipId& id = slot.sample->context.id;
    place = {true, {id.shard, id.sample}, slot.units_done};
  }
  if (turn == Turn::kGoesOn) return mark;
  if (turn == Turn::kOverWithoutCut) {
    FeedPosition::Slot& place = after.slots[turn_];
    ++place.units_done;
    if (slots_[turn_].units_left == 1) place = {};
  }
  after.turn = (turn_ + 1) % slots_.size();
  return mark;
}

void VideoFeed::tier_step(OrderStep::Kind kind, const ClipId& id, std::uint64_t bytes,
                          std::uint64_t clips) {
  tier_steps_.push_back({kind, id, bytes, clips});
}

bool VideoFeed::fail(Error error, FailureItem::Of of, const std::stop_token& stop) {
  return line_.push(FailureItem{std::move(error), of, mark(Turn::kGoesOn)}, stop);
}

/// Open samples until one gives a video with windows; false when there are no more (or stopped).
bool VideoFeed::open_next(OpenVideo& slot, SampleStream& samples, const std::stop_token& stop) {
  while (!slot.file) {
    std::optional<SampleEvent> event;
    {
      const Timed timed(counters_.read_wait);
      event = samples.next();
    }
    if (!event) return false;
    if (event->item.failure) {
      FailedSample& failed = *event->item.failure;
      const auto of = failed.fatal ? FailureItem::Of::kShard : FailureItem::Of::kSample;
      if (!fail(std::move(failed.error), of, stop)) return false;
      continue;
    }
    const Timed timed(counters_.demux);
    Error place{ErrorCode::kMemory, {}, event->item.sample->shard, event->item.sample->key, {}};
    try {
      if (!open_video(slot, std::move(*event), stop)) return false;
    } catch (const std::bad_alloc&) {
      // The tables of one hostile video must not end the process.
      slot = OpenVideo();
      place.message = "opening the video: the system has no memory for its tables";
      if (!fail(std::move(place), FailureItem::Of::kSample, stop)) return false;
    }
  }
  return true;
}

std::string VideoFeed::too_short(const VideoFacts& facts) const {
  const WindowOptions& window = options_.window;
  const std::uint64_t span = (std::uint64_t{window.num_frames} - 1) * window.frame_step + 1;
  if (!window.fps) {
    return fmt::format("{} frames are too few for one window, which spans {}", facts.frame_count,
                       span);
  }
  const double begin = facts.pts_seconds.empty() ? 0 : facts.pts_seconds.front();
  return fmt::format(
      "{} frames in {:.3f} s are too few for one window, which spans {} frames at {} fps",
      facts.frame_count, facts.end_seconds - begin, span, *window.fps);
}

std::shared_ptr<const SampleFields> VideoFeed::travelling_fields(const Sample& sample,
                                                                 const Field& video) {
  auto fields = std::make_shared<SampleFields>();
  fields->key = sample.key;
  fields->shard = sample.shard;
  const auto& videos = options_.input.video_fields;
  for (const Field& field : sample.fields) {
    // A second video of the sample stays behind: it is not small, and nobody decodes it.
    const bool is_small = names_a_picture(field.name) && field.size <= plan_.inline_bytes;
    if (&field == &video) continue;
    if (!is_small && std::ranges::find(videos, field.name) != videos.end()) continue;
    if (auto text = field.text()) fields->fields.emplace_back(field.name, std::move(*text));
  }
  return fields;
}

/// Try to open one sample's video; leaves `slot` closed when it fails or has no window. False =
/// stopped.
bool VideoFeed::open_video(OpenVideo& slot, SampleEvent event, const std::stop_token& stop) {
  auto looked = look_at(std::move(event), stop);
  if (!looked) return false;
  if (looked->refused) return fail(std::move(looked->refused->error), looked->refused->of, stop);
  slot = std::move(looked->video);
  counters_.clips_cut += slot.clips_left;
  return true;
}

/// Open one sample's video and plan its windows and units; nothing = stopped.
std::optional<VideoFeed::Looked> VideoFeed::look_at(SampleEvent event,
                                                    const std::stop_token& stop) {
  Looked looked;
  const auto refuse = [&](Error error, FailureItem::Of of) {
    looked.refused.emplace(FailureItem{std::move(error), of, nullptr});
    return std::move(looked);
  };
  Sample sample = std::move(*event.item.sample);
  for (const Field& field : sample.fields) {
    // By an index, packets are counted when they are read.
    if (!event.item.index || field.in_memory) counters_.bytes_read += field.size;
  }
  const Field* video = nullptr;
  for (const std::string& name : options_.input.video_fields) {
    video = sample.find(name);
    if (video != nullptr) break;
  }
  const auto failed = [&](Error error) {
    error.at(sample.shard, sample.key, video != nullptr ? video->offset : sample.offset);
    return refuse(std::move(error), FailureItem::Of::kSample);
  };
  if (video == nullptr) {
    std::string names;
    std::string hint;
    for (const Field& field : sample.fields) {
      names += (names.empty() ? "" : ", ") + field.name;
      if (hint.empty() && names_a_video(field.name))
        hint = "; " + how_to_take(sample.key, field.name);
    }
    return failed({ErrorCode::kNoVideo,
                   "none of video_fields is among its fields (" + names + ")" + hint,
                   {},
                   {},
                   {}});
  }

  if (!filter_.accepts_key(sample.key)) return refuse({}, FailureItem::Of::kFiltered);
  auto record = std::make_shared<SampleRecord>();
  record->context.options = &options_;
  record->context.id = {epoch_, event.shard_number, sample.ordinal, 0};
  record->context.sample = travelling_fields(sample, *video);
  if (!filter_.accepts(*record->context.sample)) {
    return refuse({}, FailureItem::Of::kFiltered);
  }
  for (Field& field : sample.fields) {
    if (&field != video) field.content.reset();
  }
  auto file = open_file(event.item, sample, *video);
  if (!file) return failed(std::move(file.error()));
  const VideoFacts& facts = file->facts();
  if (!filter_.accepts(facts)) return refuse({}, FailureItem::Of::kFiltered);

  auto windows =
      plan_windows(facts.times(), options_.window, options_.batch.seed, record->context.id);
  if (!windows) return failed(std::move(windows.error()));
  if (windows->empty()) {
    Error error{ErrorCode::kTooShort, too_short(facts), {}, {}, {}};
    error.at(sample.shard, sample.key, video->offset);
    return refuse(std::move(error), FailureItem::Of::kTooShort);
  }
  // From now on the bytes are an open video's, and the shard may read ahead again.
  sample.fields.clear();
  // Units that stream from a video that is closed already may hold its bytes for a while.
  for (const MemberCharge& charge : event.item.charges) {
    for (std::uint64_t seen = freed_.version(); !charge->move_to(videos_);
         seen = freed_.version()) {
      if (!freed_.wait(seen, stop)) return std::nullopt;
    }
  }
  for (const Window& window : *windows) looked.windows.push_back(window.ordinal);
  OpenVideo& video_of = looked.video;
  video_of.clips_left = windows->size();
  video_of.units_left = file->plan_units(std::move(*windows));
  video_of.file.emplace(std::move(*file));
  record->units_left = video_of.units_left;
  video_of.sample = std::move(record);
  return looked;
}

/// Open the video with what the shard's index has of it, else by its container.
Result<VideoFile> VideoFeed::open_file(const ReadItem& item, const Sample& sample,
                                       const Field& video) {
  const VideoFileOptions options{
      .field = video.name,
      .selective = true,
      .unit_clips = options_.window.unit_clips,
      .unit_length = tier_ ? UnitLength::kShort : UnitLength::kLong,
      .most_decoder_bytes = most_decoder_bytes(plan_),
      .sample_aspect = options_.transform.sample_aspect == SampleAspect::kApply};
  if (!item.index) return VideoFile::open(video.content, options);
  const auto at = item.index->find_ordinal(sample.ordinal);
  const auto known = at ? item.index->video(*at) : std::nullopt;
  if (known && known->direct && known->field == video.name) {
    auto indexed = item.index->read_video(*at);
    auto file =
        indexed ? VideoFile::open_indexed(video.content, indexed->record, indexed->packets, options)
                : Result<VideoFile>(std::move(indexed.error()));
    if (file) return file;
    // The bytes themselves are the truth.
    reading_.index_ignored(sample.shard, file.error().at(sample.shard, sample.key));
  }
  counters_.bytes_read += video.size;
  return VideoFile::open(video.content, options);
}

bool VideoFeed::push_unit(OpenVideo& slot, const std::stop_token& stop) {
  const UnitOutline outline = slot.file->outline_next();
  if (tier_ && tier_->takes(outline, *slot.sample->context.sample))
    return push_through_tier(slot, outline, stop);
  if (clips_urgent_ > 0) {
    clips_urgent_ -= std::min(clips_urgent_, outline.clips);
    slot.parts_left = slot.file->split_next(packets_.capacity());
    if (slot.parts_left > 1) return push_parts(slot, outline, stop);
  }
  auto job = cut_unit(slot, outline, stop);
  return job != nullptr && push_job(std::move(job), outline.first_window, Turn::kOver, stop);
}

/// Push the next unit in parts, which decode threads share among themselves: nothing else is there
/// to do for them while the first batch is waited for. For everybody behind the line it is one
/// unit.
bool VideoFeed::push_parts(OpenVideo& slot, const UnitOutline& outline,
                           const std::stop_token& stop) {
  std::vector<std::shared_ptr<UnitJob>> parts;
  bool pushes = true;
  do {
    auto job = cut_unit(slot, slot.file->outline_next(), stop);
    pushes = job != nullptr;
    if (pushes) parts.push_back(std::move(job));
  } while (pushes && parts.back()->goes_on);
  std::shared_ptr<const LineMark> place;
  if (pushes) place = mark_unit(*parts.front(), outline.first_window, Turn::kOver);
  for (auto& part : parts) {
    part->mark = place;
    if (pushes) {
      pushes = push_marked(std::move(part), stop);
    } else {
      clips_unpushed_ += part->clips();
    }
  }
  return pushes;
}

/// Read the next unit's packets, or make a unit of what is lost when they cannot be read; null when
/// stopped. The clips are the job's from now on, not the slot's.
std::shared_ptr<UnitJob> VideoFeed::cut_unit(OpenVideo& slot, const UnitOutline& outline,
                                             const std::stop_token& stop) {
  const std::uint64_t bytes = outline.packet_bytes();
  const bool streaming = bytes > packets_.capacity();
  auto job = std::make_shared<UnitJob>();
  while (!streaming) {
    const std::uint64_t seen = freed_.version();
    if (auto granted = packets_.try_reserve(bytes, MemoryTag::kEncoded)) {
      job->packets = std::move(*granted);
      break;
    }
    if (!freed_.wait(seen, stop)) return nullptr;
  }

  const Timed timed(counters_.demux);
  auto unit = slot.file->next_unit(streaming);
  job->sample = slot.sample;
  const SampleFields& sample = *slot.sample->context.sample;
  if (!unit || !*unit) {
    // The scan read these packets once; that they cannot be read again is the source's failure. It
    // takes the place of all clips that were still to come.
    Error error = unit ? Error{ErrorCode::kInternal, "a planned unit is missing", {}, {}, {}}
                       : std::move(unit.error());
    error.at(sample.shard, sample.key);
    job->units = slot.units_left;
    job->results.resize(slot.clips_left);
    job->lose(error);
    slot = OpenVideo();
    return job;
  }
  job->unit = std::move(**unit);
  if (slot.file->facts().indexed) counters_.bytes_read += outline.payload_bytes;
  const DecodePlan& plan = job->unit.plan;
  job->decoder_bytes =
      plan.decoder_bytes +
      converter_scratch_bytes(plan.picture.width, plan.picture.height, options_.transform);
  job->clip_bytes =
      plan_.clip_bytes + sample.bytes() + window_facts_bytes(options_.window.num_frames);
  slot.clips_left -= job->clips();
  if (slot.parts_left > 1) {
    --slot.parts_left;
    job->goes_on = true;
    return job;
  }
  ++slot.units_done;
  if (--slot.units_left == 0) slot = OpenVideo();
  return job;
}

bool VideoFeed::push_job(std::shared_ptr<UnitJob> job, std::uint64_t first_window, Turn turn,
                         const std::stop_token& stop) {
  job->mark = mark_unit(*job, first_window, turn);
  return push_marked(std::move(job), stop);
}

std::shared_ptr<LineMark> VideoFeed::mark_unit(const UnitJob& job, std::uint64_t first_window,
                                               Turn turn) {
  auto place = mark(turn);
  const ClipId& id = job.sample->context.id;
  place->sample = {id.shard, id.sample};
  place->first_window = first_window;
  return place;
}

bool VideoFeed::push_marked(std::shared_ptr<UnitJob> job, const std::stop_token& stop) {
  const std::size_t clips = job->clips();
  if (line_.push(std::move(job), stop)) return true;
  clips_unpushed_ += clips;
  return false;
}

/// Whoever leaves the tier leaves first: its bytes are what the unit goes into. A state taken while
/// units leave for its sake says that it is still to come.
bool VideoFeed::push_through_tier(OpenVideo& slot, const UnitOutline& outline,
                                  const std::stop_token& stop) {
  ClipId id = slot.sample->context.id;
  id.window = outline.first_window;
  const std::uint64_t bytes = tier_->item_bytes(outline, *slot.sample->context.sample);
  ShuffleOrder& order = tier_->order();
  while (order.must_leave_for(bytes)) {
    const ClipId leaves = order.leave_for_room();
    tier_step(OrderStep::Kind::kLeaveForRoom);
    if (!push_leaving(leaves, Turn::kGoesOn, stop)) return false;
  }
  const bool one_leaves = order.enter(id, bytes, outline.clips);
  tier_step(OrderStep::Kind::kEnter, id, bytes, outline.clips);
  if (one_leaves) {
    const ClipId leaves = order.leave();
    tier_step(OrderStep::Kind::kLeave);
    if (leaves == id) {
      auto job = cut_unit(slot, outline, stop);
      return job != nullptr && push_job(std::move(job), outline.first_window, Turn::kOver, stop);
    }
    if (!push_leaving(leaves, Turn::kOverWithoutCut, stop)) return false;
  }
  auto job = cut_unit(slot, outline, stop);
  if (job == nullptr) return false;
  tier_->put(id, std::move(job), bytes);
  return true;
}

/// Push a unit that leaves the tier, once there is room where units wait for a decoder.
bool VideoFeed::push_leaving(const ClipId& id, Turn turn, const std::stop_token& stop) {
  auto job = tier_->take(id);
  for (std::uint64_t seen = freed_.version(); !job->packets.move_to(packets_);
       seen = freed_.version()) {
    if (freed_.wait(seen, stop)) continue;
    clips_unpushed_ += job->clips();
    return false;
  }
  return push_job(std::move(job), id.window, turn, stop);
}

}  // namespace shardreel
