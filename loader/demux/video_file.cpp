#include "loader/demux/video_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "loader/demux/demuxer.h"
#include "loader/demux/direct_packets.h"
#include "loader/demux/packet_index.h"
#include "loader/demux/packet_record.h"
#include "loader/demux/packet_scan.h"
#include "loader/demux/picture_sizes.h"
#include "loader/demux/stream_facts.h"
#include "loader/demux/stream_record.h"
#include "loader/demux/unit_packets.h"
#include "loader/demux/unit_plan.h"
#include "loader/media/av_error.h"

namespace shardreel {
namespace {

Error bad_index(std::string_view what) {
  return {.code = ErrorCode::kCorruptArchive,
          .message = fmt::format("a video's records in an index: {}", what)};
}

Result<std::vector<PacketEntry>> take_entries(const VideoRecord& video,
                                              std::span<const PacketRecord> records) {
  if (records.empty() || records.size() != video.packet_count)
    return bad_index(
        fmt::format("{} packets, expected {}, 1 or more", records.size(), video.packet_count));
  std::vector<PacketEntry> entries;
  entries.reserve(records.size());
  for (const PacketRecord& record : records) {
    const auto entry = packet_entry(record);
    if (!entry) return bad_index(fmt::format("flags {:#x}, which no packet has", record.flags));
    entries.push_back(*entry);
  }
  return entries;
}

/// The packets' places, as far as they can be right.
Result<std::vector<std::uint64_t>> take_places(std::span<const PacketRecord> records,
                                               std::uint64_t source_bytes) {
  constexpr std::uint32_t kMaxBytes = INT32_MAX - AV_INPUT_BUFFER_PADDING_SIZE;
  std::vector<std::uint64_t> offsets;
  offsets.reserve(records.size());
  for (const PacketRecord& record : records) {
    if (record.size == 0 || record.size > kMaxBytes || record.offset > source_bytes ||
        record.size > source_bytes - record.offset)
      return bad_index(fmt::format("a packet of {} bytes at offset {} of a video of {} bytes",
                                   record.size, record.offset, source_bytes));
    offsets.push_back(record.offset);
  }
  return offsets;
}

Result<void> check_facts(const VideoFacts& facts, const VideoRecord& record) {
  if (facts.frame_count == record.frame_count && facts.codec == record.codec) return {};
  return bad_index(fmt::format("packets make {} frames of {}, expected {} of {}", facts.frame_count,
                               facts.codec, record.frame_count, record.codec));
}

/// Decoding takes four bytes a pixel at the least, with four frames and the tables.
std::uint64_t most_probed_pixels(const VideoFileOptions& options) {
  return options.most_decoder_bytes / 4;
}

}  // namespace

struct VideoFile::State {
  std::shared_ptr<const RandomAccess> source;
  VideoFileOptions options;
  VideoFacts facts;
  PictureSize largest;  ///< that packets announce; zeros where nothing was scanned
  std::shared_ptr<const StreamParameters> parameters;  // shared with the units
  std::shared_ptr<const PacketIndex> index;            // shared with streaming units
  std::vector<Window> windows;
  std::vector<UnitSpan> units;
  std::size_t next = 0;
  std::unique_ptr<PacketCursor> cursor;         ///< unless `direct`
  std::shared_ptr<const DirectPackets> direct;  // shared with streaming units
  std::map<std::uint32_t, AVPacketPtr> kept;    ///< read already, needed by the next unit too

  [[nodiscard]] ClipSpan clip_span(const Window& window) const;
  [[nodiscard]] PacketChoice choose_packets(const UnitSpan& span) const;
  [[nodiscard]] UnitOutline outline(const UnitSpan& span) const;
  [[nodiscard]] DecodePlan plan_decoding(const PacketChoice& choice,
                                         const std::vector<AVPacketPtr>& packets) const;
  [[nodiscard]] DecodePlan plan_streaming() const;
  [[nodiscard]] PacketCursor new_cursor() const {
    return {source, options.field, index, most_probed_pixels(options)};
  }
  Result<Unit> describe_unit(const UnitSpan& span);
  Result<std::vector<AVPacketPtr>> read_packets(const PacketChoice& choice);
  Result<std::map<std::uint32_t, AVPacketPtr>> read_directly(const PacketChoice& choice);
  Result<void> settle(std::vector<PacketEntry> packets, const StreamRecord& stream,
                      std::string container);
};

VideoFile::VideoFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
VideoFile::VideoFile(VideoFile&&) noexcept = default;
VideoFile& VideoFile::operator=(VideoFile&&) noexcept = default;
VideoFile::~VideoFile() = default;

const VideoFacts& VideoFile::facts() const noexcept { return state_->facts; }
const std::shared_ptr<const StreamParameters>& VideoFile::parameters() const noexcept {
  return state_->parameters;
}

Result<VideoFile> VideoFile::open(std::shared_ptr<const RandomAccess> source,
                                  const VideoFileOptions& options) {
  const auto probing =
      options.sample_aspect ? Demuxer::Probing::kForAspect : Demuxer::Probing::kWhereNeeded;
  auto demuxer = Demuxer::open(source, options.field, probing, most_probed_pixels(options));
  if (!demuxer) return std::move(demuxer.error());
  auto scan = scan_packets(*demuxer);
  if (!scan) return std::move(scan.error());
  auto stream = read_stream(*demuxer, *scan);
  if (!stream) return std::move(stream.error());
  auto state = std::make_unique<State>();
  if (auto settled =
          state->settle(std::move(scan->packets), *stream, demuxer->format().iformat->name);
      !settled)
    return std::move(settled.error());
  state->largest = scan->largest;
  state->source = std::move(source);
  state->options = options;
  state->cursor = std::make_unique<PacketCursor>(state->new_cursor());
  return VideoFile(std::move(state));
}

Result<VideoFile> VideoFile::open_indexed(std::shared_ptr<const RandomAccess> source,
                                          const VideoRecord& record,
                                          std::span<const PacketRecord> packets,
                                          const VideoFileOptions& options) {
  if (!record.direct) return open(std::move(source), options);
  silence_av_log();
  auto stream = parse_stream_record(record.codec_parameters);
  if (!stream) return std::move(stream.error());
  auto entries = take_entries(record, packets);
  if (!entries) return std::move(entries.error());
  auto offsets = take_places(packets, source->size());
  if (!offsets) return std::move(offsets.error());
  auto state = std::make_unique<State>();
  if (auto settled = state->settle(std::move(*entries), *stream, record.container); !settled)
    return std::move(settled.error());
  if (auto right = check_facts(state->facts, record); !right) return std::move(right.error());
  state->direct = std::make_shared<const DirectPackets>(source, state->index, std::move(*offsets));
  state->facts.indexed = true;
  state->facts.table_bytes += state->direct->memory_bytes();
  state->source = std::move(source);
  state->options = options;
  return VideoFile(std::move(state));
}

Result<VideoFacts> indexed_facts(const VideoRecord& record, std::span<const PacketRecord> packets) {
  auto stream = parse_stream_record(record.codec_parameters);
  if (!stream) return std::move(stream.error());
  auto entries = take_entries(record, packets);
  if (!entries) return std::move(entries.error());
  const PacketIndex index(std::move(*entries), order_of(*stream));
  VideoFacts facts = make_facts(*stream, index, record.container);
  if (auto right = check_facts(facts, record); !right) return std::move(right.error());
  return facts;
}

Result<void> VideoFile::State::settle(std::vector<PacketEntry> packets, const StreamRecord& stream,
                                      std::string container) {
  index = std::make_shared<const PacketIndex>(std::move(packets), order_of(stream));
  if (auto shown = check_shows_frames(*index); !shown) return shown;
  auto made = make_parameters(stream, *index);
  if (!made) return std::move(made.error());
  parameters = std::move(*made);
  facts = make_facts(stream, *index, std::move(container));
  return {};
}

ClipSpan VideoFile::State::clip_span(const Window& window) const {
  const std::uint64_t all = index->packets().size();
  if (index->by_count()) return {0, all};
  ClipSpan span{all, 0};
  for (const std::int64_t frame : window.frames) {
    if (frame < 0 || frame >= index->frame_count()) continue;  // describe_unit reports it
    const std::uint32_t packet = index->packet_of(frame);
    const std::uint64_t start = options.selective ? index->start_of(packet) : 0;
    span.begin = std::min(span.begin, start);
    span.end = std::max<std::uint64_t>(span.end, packet + 1);
  }
  span.begin = std::min(span.begin, span.end);
  return span;
}

std::size_t VideoFile::plan_units(std::vector<Window> windows) {
  State& state = *state_;
  state.windows = std::move(windows);
  std::vector<ClipSpan> clips;
  clips.reserve(state.windows.size());
  for (const Window& window : state.windows) clips.push_back(state.clip_span(window));
  state.units = plan_unit_spans(clips, state.options.unit_clips, state.options.unit_length);
  state.next = 0;
  return state.units.size();
}

PacketChoice VideoFile::State::choose_packets(const UnitSpan& span) const {
  const auto packets = index->packets();
  PacketChoice choice{static_cast<std::uint32_t>(span.begin),
                      std::vector<bool>(span.end - span.begin, true)};
  if (index->by_count() || !options.selective) return choice;
  for (std::uint64_t i = span.begin; i < span.end; ++i)
    choice.keep[i - span.begin] = !packets[i].traits.droppable;
  for (std::size_t clip = span.first_clip; clip < span.end_clip; ++clip) {
    for (const std::int64_t frame : windows[clip].frames) {
      if (frame >= 0 && frame < index->frame_count())
        choice.keep[index->packet_of(frame) - span.begin] = true;
    }
  }
  return choice;
}

UnitOutline VideoFile::State::outline(const UnitSpan& span) const {
  UnitOutline outline;
  outline.first_window = windows[span.first_clip].ordinal;
  outline.clips = span.end_clip - span.first_clip;
  const PacketChoice choice = choose_packets(span);
  for (std::uint32_t i = choice.begin; i < choice.end(); ++i) {
    if (!choice.keep[i - choice.begin]) continue;
    ++outline.packets;
    outline.payload_bytes += index->packets()[i].size;
  }
  return outline;
}

UnitOutline VideoFile::outline_next() const {
  return state_->next < state_->units.size() ? state_->outline(state_->units[state_->next])
                                             : UnitOutline();
}

std::vector<UnitOutline> VideoFile::outlines() const {
  std::vector<UnitOutline> all;
  for (std::size_t unit = state_->next; unit < state_->units.size(); ++unit)
    all.push_back(state_->outline(state_->units[unit]));
  return all;
}

Result<Unit> VideoFile::State::describe_unit(const UnitSpan& span) {
  Unit unit;
  unit.parameters = parameters;
  unit.by_count = index->by_count();
  const PacketEntry& first = index->packets()[span.begin];
  if (!unit.by_count && first.traits.start == RandomAccessPoint::kOpen) unit.min_pts = first.pts;
  std::vector<std::pair<std::int64_t, SlotRef>> wanted;
  for (std::size_t clip = span.first_clip; clip < span.end_clip; ++clip) {
    Window& window = windows[clip];
    std::vector<double> seconds;
    for (std::size_t slot = 0; slot < window.frames.size(); ++slot) {
      const std::int64_t frame = window.frames[slot];
      if (frame < 0 || frame >= facts.frame_count)
        return Error{
            .code = ErrorCode::kInternal,
            .message = fmt::format("a window asks for frame {} of {}", frame, facts.frame_count)};
      wanted.emplace_back(frame, SlotRef{static_cast<std::uint32_t>(clip - span.first_clip),
                                         static_cast<std::uint32_t>(slot)});
      seconds.push_back(
          facts.pts_seconds.empty()
              ? (facts.average_fps > 0 ? static_cast<double>(frame) / facts.average_fps : 0)
              : facts.pts_seconds[static_cast<std::size_t>(frame)]);
    }
    unit.windows.push_back(std::move(window));
    unit.pts_seconds.push_back(std::move(seconds));
  }
  std::stable_sort(wanted.begin(), wanted.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [frame, slot] : wanted) {
    if (unit.wanted.empty() || unit.wanted.back().frame != frame) {
      const std::int64_t pts = unit.by_count ? 0 : index->packets()[index->packet_of(frame)].pts;
      unit.wanted.push_back({frame, pts, {}});
    }
    unit.wanted.back().slots.push_back(slot);
  }
  return unit;
}

/// Those of the choice that are not `kept`.
Result<std::map<std::uint32_t, AVPacketPtr>> VideoFile::State::read_directly(
    const PacketChoice& choice) {
  std::vector<std::uint32_t> numbers;
  for (std::uint32_t i = choice.begin; i < choice.end(); ++i) {
    if (choice.keep[i - choice.begin] && !kept.contains(i)) numbers.push_back(i);
  }
  auto packets = direct->read(numbers);
  if (!packets) return std::move(packets.error());
  std::map<std::uint32_t, AVPacketPtr> read;
  for (std::size_t i = 0; i < numbers.size(); ++i)
    read.emplace_hint(read.end(), numbers[i], std::move((*packets)[i]));
  return read;
}

Result<std::vector<AVPacketPtr>> VideoFile::State::read_packets(const PacketChoice& choice) {
  PacketChoice following;
  if (next + 1 < units.size()) following = choose_packets(units[next + 1]);
  const auto needed_later = [&](std::uint32_t i) {
    return i >= following.begin && i < following.end() && following.keep[i - following.begin];
  };
  std::vector<AVPacketPtr> packets;
  std::map<std::uint32_t, AVPacketPtr> keep_on;
  const auto take = [&](std::uint32_t i, AVPacketPtr packet, bool here) -> Result<void> {
    if (needed_later(i)) {
      AVPacketPtr copy(av_packet_clone(packet.get()));  // shares the bytes
      if (copy == nullptr) return av_failure(ErrorCode::kMemory, "keep a packet", AVERROR(ENOMEM));
      keep_on.emplace(i, std::move(copy));
    }
    if (here) packets.push_back(std::move(packet));
    return {};
  };
  if (direct != nullptr) {
    auto read = read_directly(choice);
    if (!read) return std::move(read.error());
    kept.merge(*read);
  }
  for (std::uint32_t i = choice.begin; i < choice.end(); ++i) {
    if (!choice.keep[i - choice.begin]) continue;
    if (const auto held = kept.find(i); held != kept.end()) {
      if (auto taken = take(i, std::move(held->second), true); !taken)
        return std::move(taken.error());
      continue;
    }
    if (auto there = cursor->approach(i); !there) return std::move(there.error());
    while (cursor->position() <= i) {
      AVPacketPtr packet(av_packet_alloc());
      if (packet == nullptr) return av_failure(ErrorCode::kMemory, "read", AVERROR(ENOMEM));
      const std::uint32_t at = cursor->position();
      auto got = cursor->next(*packet);
      if (!got) return std::move(got.error());
      if (!*got) {  // the source has less than when it was scanned: the rest will be missing
        kept = std::move(keep_on);
        return packets;
      }
      if (auto taken = take(at, std::move(packet), at == i); !taken)
        return std::move(taken.error());
    }
  }
  // Those held already and not needed here may be needed by the next unit.
  for (auto& [i, packet] : kept) {
    if (packet != nullptr && needed_later(i)) keep_on.emplace(i, std::move(packet));
  }
  kept = std::move(keep_on);
  return packets;
}

std::size_t VideoFile::split_next(std::uint64_t most_bytes) {
  State& state = *state_;
  if (state.next >= state.units.size() || !state.options.selective) return 1;
  const UnitSpan whole = state.units[state.next];
  std::vector<ClipSpan> clips;
  for (std::size_t clip = whole.first_clip; clip < whole.end_clip; ++clip)
    clips.push_back(state.clip_span(state.windows[clip]));
  std::vector<UnitSpan> parts;
  std::uint64_t bytes = 0;
  for (UnitSpan part : plan_unit_spans(clips, state.options.unit_clips, UnitLength::kShort)) {
    part.first_clip += whole.first_clip;
    part.end_clip += whole.first_clip;
    // Behind an open start a decoder that comes from before it and one that begins there differ in
    // what they make of damage.
    const bool closed =
        state.index->packets()[part.begin].traits.start == RandomAccessPoint::kClosed;
    if (parts.empty() || closed) {
      parts.push_back(part);
    } else {
      parts.back().end_clip = part.end_clip;
      parts.back().begin = std::min(parts.back().begin, part.begin);
      parts.back().end = std::max(parts.back().end, part.end);
    }
  }
  for (const UnitSpan& part : parts) bytes += state.outline(part).packet_bytes();
  if (parts.size() < 2 || bytes > most_bytes) return 1;
  const auto at = state.units.begin() + static_cast<std::ptrdiff_t>(state.next);
  state.units.insert(state.units.erase(at), parts.begin(), parts.end());
  return parts.size();
}

void VideoFile::skip_units(std::size_t units) {
  state_->next = std::min(state_->next + units, state_->units.size());
}

/// By what these packets, those of the choice that are there, say themselves.
DecodePlan VideoFile::State::plan_decoding(const PacketChoice& choice,
                                           const std::vector<AVPacketPtr>& packets) const {
  PictureSizes sizes(*parameters->codec);
  std::uint32_t number = choice.begin;
  for (std::size_t i = 0; i < packets.size(); ++i, ++number) {
    while (!choice.keep[number - choice.begin]) ++number;
    const AVPacket& packet = *packets[i];
    if (i == 0 || may_change_size(index->packets()[number]))
      sizes.look({packet.data, static_cast<std::size_t>(packet.size)});
  }
  return shardreel::plan_decoding(*parameters->codec, sizes.largest(), options.most_decoder_bytes);
}

/// By what the scan saw of the whole video. With an index nothing was scanned, and packets are read
/// once: the container's size counts, and the decoder looks at each packet.
DecodePlan VideoFile::State::plan_streaming() const {
  DecodePlan plan =
      shardreel::plan_decoding(*parameters->codec, largest, options.most_decoder_bytes);
  plan.holds_larger = plan.holds_larger || direct != nullptr;
  return plan;
}

Result<std::optional<Unit>> VideoFile::next_unit(bool streaming) {
  State& state = *state_;
  if (state.next >= state.units.size()) return std::optional<Unit>();
  const UnitSpan& span = state.units[state.next];
  PacketChoice choice = state.choose_packets(span);
  const std::uint64_t bytes = outline_next().packet_bytes();
  auto unit = state.describe_unit(span);
  if (!unit) return std::move(unit.error());
  unit->streaming = streaming;
  if (streaming) {
    unit->plan = state.plan_streaming();
    unit->packets = state.direct != nullptr
                        ? packets_by_place(state.direct, std::move(choice))
                        : packets_from_source(state.new_cursor(), std::move(choice));
  } else {
    auto packets = state.read_packets(choice);
    if (!packets) return std::move(packets.error());
    unit->plan = state.plan_decoding(choice, *packets);
    unit->packets = packets_in_memory(std::move(*packets));
    unit->packet_bytes = bytes;
  }
  ++state.next;
  return std::optional<Unit>(std::move(*unit));
}

}  // namespace shardreel
