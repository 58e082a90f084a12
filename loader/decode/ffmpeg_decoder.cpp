#include "loader/decode/ffmpeg_decoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>
#include <utility>

#include "loader/decode/h264_start.h"
#include "loader/demux/picture_sizes.h"
#include "loader/media/av_error.h"
#include "loader/media/av_handles.h"
#include "shardreel/units.h"

extern "C" {
#include <libavutil/opt.h>
}

namespace shardreel {
namespace {

/// Codecs whose decoders were tested to keep nothing of an earlier unit after a flush.
bool may_be_recycled(const StreamParameters& parameters) {
  switch (parameters.codec->codec_id) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_VP9:
    case AV_CODEC_ID_AV1: return parameters.recyclable;
    default: return false;
  }
}

/// Whether a context that was opened with `a` is told nothing new by `b`. What frames say of their
/// colours is the container's word where the stream has none.
bool same_codec(const AVCodecParameters& a, const AVCodecParameters& b) {
  const auto numbers = [](const AVCodecParameters& of) {
    return std::tie(of.codec_id, of.codec_tag, of.width, of.height, of.format, of.profile, of.level,
                    of.video_delay, of.field_order, of.bits_per_coded_sample, of.color_range,
                    of.color_primaries, of.color_trc, of.color_space, of.chroma_location,
                    of.sample_aspect_ratio.num, of.sample_aspect_ratio.den, of.extradata_size);
  };
  return numbers(a) == numbers(b) &&
         (a.extradata_size == 0 ||
          std::memcmp(a.extradata, b.extradata, static_cast<std::size_t>(a.extradata_size)) == 0);
}

/// FFmpeg's MPEG decoders hold a buffer of 280 rows against the same bound.
std::int64_t most_pixels(const DecodePlan& plan) {
  const std::uint64_t rows = (std::uint64_t{plan.picture.width} + 256) * 288;
  return static_cast<std::int64_t>(
      std::min<std::uint64_t>(std::max(plan.picture.pixels(), rows), INT32_MAX));
}

// Note [Emptying without a flush]
//
// avcodec_flush_buffers makes FFmpeg's H.264 decoder forget that it is set up: a device's session
// ends and another is made, 50 ms and more, for each unit. (HEVC, VP9 and VP8 keep theirs.) A
// decoder that was drained must be flushed. So frames that it holds back for reordering are brought
// out by more packets instead: the unit's own IDR picture once more, as often as it takes. That is
// a stream like any other: an IDR picture ends what came before it, which is shown to its end, and
// whatever follows, the next unit's IDR picture, needs nothing of it. Each costs the device one
// intra picture. Frames say by `reordered_opaque` whose they are: a unit's carry its number, what
// was pushed in behind them the negative of it, and comes out among the next unit's.
//
// Done where it is exact: H.264, a unit that starts with an IDR picture, the same parameters, whole
// frames (a single field would wait for its pair), no error so far. Else the decoder is drained,
// and flushed for the next unit. Where pushing brings nothing out, the unit is decoded again, and
// units with these parameters are drained from then on.
constexpr int kMostPushed = 20;  // a decoder holds back 16 at most

/// What one pass over a unit's packets came to.
enum class PassEnd { kDone, kNeedsFreshDecoder };

class FfmpegDecoder final : public VideoDecoder {
 public:
  explicit FfmpegDecoder(std::unique_ptr<CodecSetup> setup) : setup_(std::move(setup)) {}

  Result<DecodeReport> decode(Unit& unit, FrameSink& sink, const std::stop_token& stop) override;
  [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override {
    return setup_->peak_frame_bytes();
  }
  void trim() noexcept override {
    close();
    setup_->trim();
  }

 private:
  /// Where a unit's decoding stands.
  struct Progress {
    Unit& unit;
    FrameSink& sink;
    DecodeReport report;
    std::vector<bool> given;  ///< which of unit.wanted the sink has
    std::size_t given_count = 0;
    std::int64_t shown = 0;          ///< frames the decoder has shown in this pass
    bool damaged = false;            ///< since the last clean keyframe
    bool may_push = true;            ///< until that brought nothing out
    bool refuses = false;            ///< the last packet was not given to the decoder
    std::optional<AvMessage> words;  ///< FFmpeg's, of the last packet
  };

  void close() noexcept {
    context_.reset();
    parameters_.reset();
  }
  Result<void> open(const Unit& unit);
  Result<bool> starts_anew(const Unit& unit);
  Result<PassEnd> push_out(Progress& progress);
  Result<PassEnd> run(Progress& progress, const std::stop_token& stop);
  Result<PassEnd> take_frames(Progress& progress);
  Result<PassEnd> show(Progress& progress, const AVFrame& frame);
  static std::int64_t time_of(const AVFrame& frame) {
    return frame.pts != AV_NOPTS_VALUE ? frame.pts : frame.best_effort_timestamp;
  }
  static std::size_t find_wanted(const Progress& progress, const AVFrame& frame);
  Result<PassEnd> note_error(Progress& progress, std::string_view doing, int number);
  Result<PassEnd> refuse(Progress& progress, PictureSize size);
  void note_refused(Progress& progress, PictureSize size);
  void flush();

  const std::unique_ptr<CodecSetup> setup_;  // before the context, whose frames come from it
  AVCodecContextPtr context_;
  std::shared_ptr<const StreamParameters> parameters_;  ///< that context_ was opened with
  AVPacketPtr packet_;
  AVFramePtr frame_;
  bool reused_ = false;
  // Note [Emptying without a flush]
  bool starts_anew_ = false;  ///< the unit begins with an IDR picture, and flushes are avoided
  bool drained_ = false;      ///< context_ takes no packets before a flush
  bool fields_ = false;       ///< frames of it were interlaced
  bool pushed_came_ = false;  ///< everything before what was pushed in is out
  std::int64_t unit_ = 0;     ///< number of the unit, as its frames say it
  std::shared_ptr<const StreamParameters> cannot_push_;  ///< with these it brought nothing out
};

/// Whether the unit can follow another one, and its own end be pushed out, without a flush.
Result<bool> FfmpegDecoder::starts_anew(const Unit& unit) {
  const AVCodecParameters& codec = *unit.parameters->codec;
  if (!setup_->avoids_flushes() || codec.codec_id != AV_CODEC_ID_H264 ||
      !may_be_recycled(*unit.parameters) || unit.streaming || unit.min_pts != INT64_MIN ||
      (cannot_push_ != nullptr && same_codec(codec, *cannot_push_->codec)))
    return false;
  const PacketScope scope(*packet_);
  auto got = unit.packets->next(*packet_);
  if (!got) return got;
  if (auto back = unit.packets->rewind(); !back) return std::move(back.error());
  // Without timestamps of packets FFmpeg guesses those of frames from what it saw before.
  return *got && (unit.by_count || packet_->pts != AV_NOPTS_VALUE) &&
         holds_idr({packet_->data, static_cast<std::size_t>(packet_->size)}, codec);
}

Result<void> FfmpegDecoder::open(const Unit& unit) {
  const auto& parameters = unit.parameters;
  if (packet_ == nullptr) packet_.reset(av_packet_alloc());
  if (frame_ == nullptr) frame_.reset(av_frame_alloc());
  if (packet_ == nullptr || frame_ == nullptr)
    return av_failure(ErrorCode::kMemory, "open a decoder", AVERROR(ENOMEM));
  const AVCodecParameters& codec = *parameters->codec;
  reused_ = context_ != nullptr && may_be_recycled(*parameters) && may_be_recycled(*parameters_) &&
            same_codec(codec, *parameters_->codec) &&
            parameters->x264_build == parameters_->x264_build &&
            context_->max_pixels == most_pixels(unit.plan);
  auto anew = starts_anew(unit);
  if (!anew) return std::move(anew.error());
  starts_anew_ = *anew;
  if (reused_) {
    if (!starts_anew_ || drained_) flush();
    drained_ = false;
    context_->pkt_timebase = parameters->time_base;
    parameters_ = parameters;
    return {};
  }
  close();
  const AVCodec* decoder = setup_->find(codec);
  if (decoder == nullptr)
    return Error{.code = ErrorCode::kUnsupported,
                 .message = fmt::format("no decoder for {}", avcodec_get_name(codec.codec_id))};
  AVCodecContextPtr context(avcodec_alloc_context3(decoder));
  if (context == nullptr) return av_failure(ErrorCode::kMemory, "open a decoder", AVERROR(ENOMEM));
  const AvMessage message;
  int status = avcodec_parameters_to_context(context.get(), &codec);
  if (status >= 0) {
    context->thread_count = 1;  // one video a thread: frame threads take 5 to 24 % more CPU
    context->thread_type = 0;   // else libavcodec warns of our get_buffer2, where PyAV logs for it
    context->pkt_timebase = parameters->time_base;
    if (parameters->x264_build > 0)
      av_opt_set_int(context->priv_data, "x264_build", parameters->x264_build, 0);
    context->max_pixels = most_pixels(unit.plan);
    if (auto prepared = setup_->prepare(*context); !prepared) return prepared;
    status = avcodec_open2(context.get(), decoder, nullptr);
  }
  if (status < 0)
    return message.explain(av_failure(ErrorCode::kUnsupported,
                                      fmt::format("open the decoder {}", decoder->name), status));
  context_ = std::move(context);
  parameters_ = parameters;
  drained_ = fields_ = false;
  return {};
}

/// Forget what was decoded, as between two units.
void FfmpegDecoder::flush() {
  avcodec_flush_buffers(context_.get());
  context_->has_b_frames = parameters_->codec->video_delay;
}

// Note [Pictures larger than planned]
//
// A stream may announce any size at any time, and most of what a decoder allocates for it does not
// come from our pool. Where a unit's packets announce a picture that is beyond its plan, they are
// not given to the decoder: they and all that follows until the size is right again. What came
// before is brought out first, so that frames that are counted keep their numbers. For codecs whose
// headers are not read, and for whatever slipped through, FFmpeg's own bound stops the decoder
// before it allocates (`max_pixels`; FFmpeg's HEVC decoder knows it too late, for frames only).
void FfmpegDecoder::note_refused(Progress& progress, PictureSize size) {
  const DecodePlan& plan = progress.unit.plan;
  const Error why{ErrorCode::kMemory,
                  fmt::format("a picture of {}x{} in a unit that was planned for {}x{}: decoding "
                              "it would take more than "
                              "the {} that may be taken; raise memory_bytes or lower shuffle_bytes",
                              size.width, size.height, plan.picture.width, plan.picture.height,
                              format_bytes(plan.most_bytes)),
                  {},
                  {},
                  {}};
  ++progress.shown;
  ++progress.report.errors;
  progress.damaged = true;
  if (!progress.report.first_error) progress.report.first_error = why;
  progress.sink.refused(why);
}

Result<PassEnd> FfmpegDecoder::refuse(Progress& progress, PictureSize size) {
  if (!setup_->goes_on_after_errors())
    return Error{.code = ErrorCode::kDecodeError,
                 .message = fmt::format("a picture of {}x{}", size.width, size.height)};
  if (!std::exchange(progress.refuses, true)) {
    avcodec_send_packet(context_.get(), nullptr);  // fails only where it was drained already
    auto taken = take_frames(progress);
    if (!taken || *taken != PassEnd::kDone) return taken;
    flush();
  }
  note_refused(progress, size);
  return PassEnd::kDone;
}

/// Count an error of the decoder and go on; or start over: an error in a decoder that was used
/// before may be the earlier unit's fault.
Result<PassEnd> FfmpegDecoder::note_error(Progress& progress, std::string_view doing, int number) {
  if (auto own = setup_->own_failure()) return std::move(*own);
  if (reused_) return PassEnd::kNeedsFreshDecoder;
  if (const auto size = progress.words ? refused_size(progress.words->text()) : std::nullopt;
      size && setup_->goes_on_after_errors()) {
    note_refused(progress, {size->width, size->height});
    return PassEnd::kDone;
  }
  if (!setup_->goes_on_after_errors()) return av_failure(ErrorCode::kDecodeError, doing, number);
  ++progress.report.errors;
  progress.damaged = true;
  if (!progress.report.first_error)
    progress.report.first_error = av_failure(ErrorCode::kDecodeError, doing, number);
  return PassEnd::kDone;
}

std::size_t FfmpegDecoder::find_wanted(const Progress& progress, const AVFrame& frame) {
  const auto& wanted = progress.unit.wanted;
  const bool count = progress.unit.by_count;
  const std::int64_t key = count ? progress.unit.first_frame + progress.shown : time_of(frame);
  // Ascending by frame, and so by pts.
  const auto at = std::lower_bound(
      wanted.begin(), wanted.end(), key,
      [&](const WantedFrame& w, std::int64_t value) { return (count ? w.frame : w.pts) < value; });
  if (at == wanted.end() || (count ? at->frame : at->pts) != key) return wanted.size();
  return static_cast<std::size_t>(at - wanted.begin());
}

Result<PassEnd> FfmpegDecoder::show(Progress& progress, const AVFrame& frame) {
  ++progress.report.frames_decoded;
  // Leading pictures of the open group that decoding started at: broken, and not this unit's.
  if (!progress.unit.by_count && time_of(frame) < progress.unit.min_pts) return PassEnd::kDone;
  const bool flagged = (frame.flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame.decode_error_flags != 0;
  if (flagged) {
    auto noted = note_error(progress, "a frame is flagged as corrupt", AVERROR_INVALIDDATA);
    if (!noted || *noted != PassEnd::kDone) return noted;
  }
  if (frame.key_frame != 0 && !flagged) progress.damaged = false;
  const std::size_t index = find_wanted(progress, frame);
  ++progress.shown;
  if (index == progress.unit.wanted.size() || progress.given[index]) return PassEnd::kDone;
  progress.given[index] = true;
  ++progress.given_count;
  ++progress.report.frames_wanted;
  if (auto taken =
          progress.sink.frame(frame, progress.unit.wanted[index], flagged || progress.damaged);
      !taken)
    return std::move(taken.error());
  return PassEnd::kDone;
}

Result<PassEnd> FfmpegDecoder::take_frames(Progress& progress) {
  for (;;) {
    const FrameScope scope(*frame_);
    const int status = avcodec_receive_frame(context_.get(), frame_.get());
    if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return PassEnd::kDone;
    if (status == AVERROR(ENOMEM)) return av_failure(ErrorCode::kMemory, "decode a frame", status);
    if (status < 0) {
      auto noted = note_error(progress, "decode a frame", status);
      if (!noted || *noted != PassEnd::kDone) return noted;
      continue;  // the packet is used up; the next call gives what else there is
    }
    if (setup_->avoids_flushes() && frame_->reordered_opaque != unit_) {
      pushed_came_ = pushed_came_ || frame_->reordered_opaque == -unit_;
      continue;
    }
    fields_ = fields_ || frame_->interlaced_frame != 0;
    if (auto accepted = setup_->accept(*frame_); !accepted) return accepted.error();
    auto shown = show(progress, *frame_);
    if (!shown || *shown != PassEnd::kDone) return shown;
  }
}

/// Bring out what the decoder holds back, and leave it able to take the next unit.
Result<PassEnd> FfmpegDecoder::push_out(Progress& progress) {
  if (auto back = progress.unit.packets->rewind(); !back) return std::move(back.error());
  const PacketScope scope(*packet_);
  auto got = progress.unit.packets->next(*packet_);
  if (!got) return std::move(got.error());
  context_->reordered_opaque = -unit_;
  for (int pushed = 0; pushed < kMostPushed && !pushed_came_; ++pushed) {
    if (progress.given_count == progress.unit.wanted.size()) return PassEnd::kDone;
    const int status = avcodec_send_packet(context_.get(), packet_.get());
    if (status == AVERROR(ENOMEM)) return av_failure(ErrorCode::kMemory, "decode a packet", status);
    if (status < 0) break;
    auto taken = take_frames(progress);
    if (!taken || *taken != PassEnd::kDone) return taken;
  }
  if (pushed_came_) return PassEnd::kDone;
  cannot_push_ = parameters_;
  progress.may_push = false;
  return PassEnd::kNeedsFreshDecoder;
}

Result<PassEnd> FfmpegDecoder::run(Progress& progress, const std::stop_token& stop) {
  progress.shown = 0;
  progress.damaged = false;
  context_->reordered_opaque = ++unit_;
  pushed_came_ = false;
  // Behind an open start, FFmpeg's H.264 decoder trusts frames only once the keyframe was shown; a
  // drain shows frames without that step, so it would withhold good ones. `min_pts` keeps the
  // broken ones out instead.
  const bool open_start = progress.unit.min_pts != INT64_MIN;
  if (open_start && context_->codec_id == AV_CODEC_ID_H264)
    context_->flags |= AV_CODEC_FLAG_OUTPUT_CORRUPT;
  else
    context_->flags &= ~AV_CODEC_FLAG_OUTPUT_CORRUPT;
  std::optional<PictureSizes> sizes;
  if (progress.unit.plan.holds_larger) sizes.emplace(*parameters_->codec);
  for (bool drain = false; !drain;) {
    if (stop.stop_requested())
      return Error{.code = ErrorCode::kStopped, .message = "stopped while decoding"};
    // What comes behind the last wanted frame is of no use.
    if (progress.given_count == progress.unit.wanted.size()) return PassEnd::kDone;
    const PacketScope scope(*packet_);
    auto got = progress.unit.packets->next(*packet_);
    if (!got) return std::move(got.error());
    drain = !*got;
    if (drain && starts_anew_ && progress.may_push && !fields_) return push_out(progress);
    if (sizes && !drain) {
      const auto size = sizes->look({packet_->data, static_cast<std::size_t>(packet_->size)});
      if (size.pixels() > progress.unit.plan.picture.pixels()) {
        auto refused = refuse(progress, size);
        if (!refused || *refused != PassEnd::kDone) return refused;
        continue;
      }
    }
    progress.refuses = false;
    drained_ = drained_ || drain;
    // A device's setup listens itself, to why no session was made.
    if (setup_->goes_on_after_errors()) progress.words.emplace();
    const int status = avcodec_send_packet(context_.get(), drain ? nullptr : packet_.get());
    if (status == AVERROR(ENOMEM)) return av_failure(ErrorCode::kMemory, "decode a packet", status);
    if (!drain) ++progress.report.packets;
    // A decoder that was emptied before every packet never asks to wait.
    if (status < 0 && status != AVERROR_EOF) {
      auto noted = note_error(progress, "decode a packet", status);
      if (!noted || *noted != PassEnd::kDone) return noted;
    }
    auto taken = take_frames(progress);
    if (!taken || *taken != PassEnd::kDone) return taken;
  }
  return PassEnd::kDone;
}

Result<DecodeReport> FfmpegDecoder::decode(Unit& unit, FrameSink& sink,
                                           const std::stop_token& stop) {
  Progress progress{unit, sink, {}, std::vector<bool>(unit.wanted.size())};
  if (auto opened = open(unit); !opened) return std::move(opened.error());
  setup_->begin_unit();
  progress.report.contexts_reused = reused_;
  auto end = run(progress, stop);
  if (end && *end == PassEnd::kNeedsFreshDecoder) {
    close();
    progress.report.contexts_reused = false;
    if (auto again = unit.packets->rewind(); !again) return std::move(again.error());
    if (auto opened = open(unit); !opened) return std::move(opened.error());
    end = run(progress, stop);
  }
  progress.report.sessions_made = setup_->sessions_made();
  // A decoder that saw an error, or was left in the middle, is not used again.
  if (!end || progress.report.errors > 0) close();
  setup_->end_unit();
  if (!end) return std::move(end.error());
  return std::move(progress.report);
}

}  // namespace

std::unique_ptr<VideoDecoder> make_ffmpeg_decoder(std::unique_ptr<CodecSetup> setup) {
  silence_av_log();
  return std::make_unique<FfmpegDecoder>(std::move(setup));
}

}  // namespace shardreel
