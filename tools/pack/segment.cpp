#include "tools/pack/segment.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "loader/demux/demuxer.h"
#include "loader/media/av_error.h"
#include "tools/pack/audio_reader.h"
#include "tools/pack/media_writer.h"
#include "tools/pack/segment_plan.h"
#include "tools/pack/source_scan.h"

namespace shardreel::tools {
namespace {

SegmentPlanOptions plan_options(const AVStream& stream, const SourceScan& scan, double seconds,
                                bool mp4) {
  const AVCodecID codec = stream.codecpar->codec_id;
  SegmentPlanOptions options;
  // Half a frame of grace: 10 s of frames at 29.97 a second end a little before or behind 10 s.
  const double grace = 0.5 / scan.average_fps;
  options.ticks = std::llround(std::max(0.0, seconds - grace) / av_q2d(stream.time_base));
  options.last_duration = scan.last_duration;
  options.hidden_are_broken = codec == AV_CODEC_ID_H264 || codec == AV_CODEC_ID_HEVC;
  options.can_hide = mp4;
  // FFmpeg's H.264 decoder may show a frame twice when a stream begins with a recovery point.
  options.open_is_clean = codec != AV_CODEC_ID_H264;
  // HEVC 8.3 forbids it, and B pictures of the MPEG codecs are never referred to.
  options.leading_stand_alone = codec == AV_CODEC_ID_HEVC || codec == AV_CODEC_ID_MPEG1VIDEO ||
                                codec == AV_CODEC_ID_MPEG2VIDEO || codec == AV_CODEC_ID_MPEG4;
  return options;
}

}  // namespace

struct VideoSegmenter::State {
  State(SourceScan found, SegmentOptions wanted)
      : scan(std::move(found)), options(std::move(wanted)) {}

  SourceScan scan;
  SegmentOptions options;
  std::unique_ptr<Demuxer> demuxer;
  std::unique_ptr<AudioFeed> audio;
  std::unique_ptr<SegmentPlanner> planner;
  bool mp4 = true;
  std::uint32_t next = 0;
  std::uint32_t position = 0;  ///< number of the packet that the demuxer gives next
  std::uint32_t kept_number = 0;
  AVPacketPtr kept;  ///< keyframe of an open group: two segments have it

  Result<void> read(std::uint32_t number, AVPacket& packet);
  Result<int> add_streams(MediaWriter& writer) const;
  Result<std::shared_ptr<const RandomAccess>> write(const PlannedSegment& plan,
                                                    const std::stop_token& stop);
};

VideoSegmenter::VideoSegmenter(std::unique_ptr<State> state) : state_(std::move(state)) {}
VideoSegmenter::VideoSegmenter(VideoSegmenter&&) noexcept = default;
VideoSegmenter& VideoSegmenter::operator=(VideoSegmenter&&) noexcept = default;
VideoSegmenter::~VideoSegmenter() = default;

std::uint32_t VideoSegmenter::segment_count() const noexcept { return state_->planner->count(); }

Result<VideoSegmenter> VideoSegmenter::open(std::shared_ptr<const RandomAccess> source,
                                            std::string field, SegmentOptions options) {
  if (!(options.seconds > 0))
    return Error{ErrorCode::kInvalidOption,
                 fmt::format("segments of {} seconds: expected more than 0", options.seconds),
                 {},
                 {},
                 {}};
  // mp4 wants to know more of a stream (its pixel format) than decoding does.
  auto scan = scan_source(source, field, Demuxer::Probing::kAlways);
  if (!scan) return std::move(scan.error());
  if (scan->index.by_count())
    return Error{ErrorCode::kUnsupported,
                 "segments: the frames of this video have no times of their own (raw stream, "
                 "fields, repeated times); transcode it first",
                 {},
                 {},
                 {}};
  auto demuxer = Demuxer::open(source, field, Demuxer::Probing::kAlways);
  if (!demuxer) return std::move(demuxer.error());
  auto state = std::make_unique<State>(std::move(*scan), std::move(options));
  state->demuxer = std::make_unique<Demuxer>(std::move(*demuxer));
  const AVStream& stream = state->demuxer->stream();
  if (stream.codecpar->format < 0 && stream.codecpar->codec_id == AV_CODEC_ID_VP9)
    return Error{ErrorCode::kDecodeError, "segments: no frame of this video decodes", {}, {}, {}};
  state->mp4 = mp4_holds(stream.codecpar->codec_id);
  if (state->options.copy_audio) {
    auto audio = AudioReader::open(source, state->demuxer->format().iformat);
    if (!audio) return std::move(audio.error());
    if (*audio != nullptr) {
      state->mp4 = state->mp4 && mp4_holds((*audio)->stream().codecpar->codec_id);
      state->audio = std::make_unique<AudioFeed>(std::move(*audio));
    }
  }
  state->kept.reset(av_packet_alloc());
  if (state->kept == nullptr) return av_failure(ErrorCode::kMemory, "cut", AVERROR(ENOMEM));
  state->planner = std::make_unique<SegmentPlanner>(
      state->scan.index, plan_options(stream, state->scan, state->options.seconds, state->mp4));
  return VideoSegmenter(std::move(state));
}

/// Get packet `number`; numbers ascend, but for a keyframe that is asked for twice.
Result<void> VideoSegmenter::State::read(std::uint32_t number, AVPacket& packet) {
  if (kept->data != nullptr && kept_number == number) {
    av_packet_move_ref(&packet, kept.get());
    return {};
  }
  for (;;) {
    auto got = demuxer->next(packet);
    if (!got) return std::move(got.error());
    if (!*got)
      return Error{ErrorCode::kTruncated,
                   fmt::format("packet {} was there before and is not now", number),
                   {},
                   {},
                   {}};
    if (position++ == number) return {};
    av_packet_unref(&packet);
  }
}

/// Returns the audio stream's number, -1 without audio.
Result<int> VideoSegmenter::State::add_streams(MediaWriter& writer) const {
  const auto add = [&](const AVStream& stream) -> Result<int> {
    const AVCodecParametersPtr codec(avcodec_parameters_alloc());
    if (codec == nullptr || avcodec_parameters_copy(codec.get(), stream.codecpar) < 0)
      return av_failure(ErrorCode::kMemory, "describe a stream", AVERROR(ENOMEM));
    // The tag is the other container's; of mp4's two for HEVC the source's is kept.
    if (codec->codec_tag != MKTAG('h', 'v', 'c', '1') || !mp4) codec->codec_tag = 0;
    return writer.add_stream(*codec, stream.time_base, &stream);
  };
  if (auto video = add(demuxer->stream()); !video) return video;
  return audio == nullptr ? Result<int>(-1) : add(audio->stream());
}

Result<std::shared_ptr<const RandomAccess>> VideoSegmenter::State::write(
    const PlannedSegment& plan, const std::stop_token& stop) {
  auto writer = MediaWriter::open(mp4 ? "mp4" : "matroska", options.spool_dir);
  if (!writer) return std::move(writer.error());
  auto sound = add_streams(*writer);
  if (!sound) return std::move(sound.error());
  if (auto begun = writer->begin(); !begun) return std::move(begun.error());
  const AVPacketPtr packet(av_packet_alloc());
  if (packet == nullptr) return av_failure(ErrorCode::kMemory, "cut", AVERROR(ENOMEM));
  const AVRational base = demuxer->stream().time_base;
  const bool last = next + 1 == planner->count();
  // Audio belongs to the segment that is shown when it begins; what begins before the first frame
  // or behind the last goes with those.
  const auto feed = [&](std::int64_t until, bool all) -> Result<void> {
    if (audio == nullptr) return {};
    return audio->write_until(all ? HUGE_VAL : static_cast<double>(until) * av_q2d(base),
                              -plan.start_pts, base, *writer, *sound, mp4);
  };
  for (const PlannedPacket& planned : plan.packets) {
    if (stop.stop_requested())
      return Error{ErrorCode::kStopped, "stopped while cutting", {}, {}, {}};
    const PacketScope scope(*packet);
    if (auto got = read(planned.packet, *packet); !got) return std::move(got.error());
    if (planned.hidden) {
      // The next segment's first packet, if it is that.
      av_packet_unref(kept.get());
      if (const int status = av_packet_ref(kept.get(), packet.get()); status < 0)
        return av_failure(ErrorCode::kMemory, "keep a packet", status);
      kept_number = planned.packet;
      // Behind the edit list's end a demuxer stops at a keyframe, and leading pictures follow.
      if (planned.pts > 0) packet->flags &= ~AV_PKT_FLAG_KEY;
    }
    packet->flags &= ~AV_PKT_FLAG_DISCARD;
    packet->pts = planned.pts;
    packet->dts = planned.dts;
    packet->duration = planned.duration;
    const std::int64_t due = std::min(planned.dts + plan.start_pts, plan.end_pts);
    if (auto fed = feed(due, false); !fed) return std::move(fed.error());
    if (auto written = writer->write(*packet, 0); !written) return std::move(written.error());
  }
  if (auto fed = feed(plan.end_pts, last); !fed) return std::move(fed.error());
  return writer->finish();
}

Result<std::optional<VideoSegment>> VideoSegmenter::next(const std::stop_token& stop) {
  State& state = *state_;
  if (state.next >= state.planner->count()) return std::optional<VideoSegment>();
  const PlannedSegment plan = state.planner->plan(state.next);
  const bool hides = std::any_of(plan.packets.begin(), plan.packets.end(),
                                 [](const auto& packet) { return packet.hidden; });
  if (state.planner->hides_in_between(plan) || (hides && !state.mp4))
    return Error{ErrorCode::kUnsupported,
                 "segments: an edit list hides frames between shown ones; transcode it first",
                 {},
                 {},
                 {}};
  auto content = state.write(plan, stop);
  if (!content) return std::move(content.error());
  const double tick = av_q2d(state.demuxer->stream().time_base);
  VideoSegment segment;
  segment.number = state.next++;
  segment.field = state.mp4 ? "mp4" : "mkv";
  segment.content = std::move(*content);
  segment.start_seconds = static_cast<double>(plan.start_pts) * tick;
  segment.end_seconds = static_cast<double>(plan.end_pts) * tick;
  segment.first_frame = plan.first_frame;
  segment.frames = plan.frames;
  return std::optional<VideoSegment>(std::move(segment));
}

std::string segment_key(const std::string& key, std::uint32_t number) {
  return fmt::format("{}_{:04}", key, number);
}

}  // namespace shardreel::tools
