#include "tools/pack/transcode.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "loader/media/av_error.h"
#include "tools/pack/audio_reader.h"
#include "tools/pack/frame_filter.h"
#include "tools/pack/frame_times.h"
#include "tools/pack/media_writer.h"
#include "tools/pack/picture_shape.h"
#include "tools/pack/source_frames.h"
#include "tools/pack/source_scan.h"
#include "tools/pack/video_encoder.h"

namespace shardreel::tools {
namespace {

/// One video on its way through.
class Transcoder {
 public:
  Transcoder(const TranscodeSpec& spec, const std::stop_token& stop) : spec_(spec), stop_(stop) {}

  Result<TranscodedVideo> run(const std::shared_ptr<const RandomAccess>& source,
                              const std::string& field, const std::string& spool_dir);

 private:
  Result<void> begin(const AVFrame& first);
  Result<void> shape(AVFrame& frame);
  Result<void> rate(AVFrame& frame);
  Result<void> drain_rate();
  Result<void> take(AVFrame& frame);
  Result<void> encode(AVFrame* frame);
  Result<void> write_audio_until(double seconds);

  const TranscodeSpec& spec_;
  const std::stop_token& stop_;
  const SourceScan* scan_ = nullptr;
  const SourceFrames* input_ = nullptr;
  PictureShape shape_;
  std::optional<FrameFilter> shaper_, rater_;
  std::optional<VideoEncoder> encoder_;
  std::optional<MediaWriter> writer_;
  FrameTimes times_;
  AVRational time_base_{};
  AVFramePtr shaped_{av_frame_alloc()}, rated_{av_frame_alloc()};
  AVFramePtr held_{av_frame_alloc()};  ///< waits until the time of the frame behind it is known
  bool holding_ = false;
  std::int64_t last_ticks_ = 0;
  AVPacketPtr packet_{av_packet_alloc()};
  std::unique_ptr<AudioFeed> audio_;
  int video_stream_ = 0, audio_stream_ = 0;
};

Result<TranscodedVideo> Transcoder::run(const std::shared_ptr<const RandomAccess>& source,
                                        const std::string& field, const std::string& spool_dir) {
  auto scan = scan_source(source, field);
  if (!scan) return std::move(scan.error());
  scan_ = &*scan;
  auto frames = SourceFrames::open(source, field, *scan);
  if (!frames) return std::move(frames.error());
  input_ = &*frames;
  auto writer = MediaWriter::open("mp4", spool_dir);
  if (!writer) return std::move(writer.error());
  writer_ = std::move(*writer);
  if (spec_.copy_audio) {
    auto audio = AudioReader::open(source, frames->container());
    if (!audio) return std::move(audio.error());
    if (*audio != nullptr) audio_ = std::make_unique<AudioFeed>(std::move(*audio));
  }
  const AVFramePtr frame(av_frame_alloc());
  for (AVFrame* one : {frame.get(), shaped_.get(), rated_.get(), held_.get()})
    if (one == nullptr) return av_failure(ErrorCode::kMemory, "transcode", AVERROR(ENOMEM));
  if (packet_ == nullptr) return av_failure(ErrorCode::kMemory, "transcode", AVERROR(ENOMEM));
  TranscodedVideo video;
  for (;;) {
    if (stop_.stop_requested())
      return Error{ErrorCode::kStopped, "stopped while transcoding", {}, {}, {}};
    const FrameScope scope(*frame);
    auto got = frames->next(*frame);
    if (!got) return std::move(got.error());
    if (!*got) break;
    if (auto done = shape(*frame); !done) return std::move(done.error());
    ++video.source_frames;
  }
  if (rater_) {
    if (auto pushed = rater_->push(nullptr); !pushed) return std::move(pushed.error());
    if (auto drained = drain_rate(); !drained) return std::move(drained.error());
  }
  if (!encoder_) return Error{ErrorCode::kDecodeError, "no frame was decoded", {}, {}, {}};
  const std::int64_t ticks = rater_                    ? 1
                             : scan->last_duration > 0 ? scan->last_duration
                                                       : last_ticks_;
  times_.end(ticks);
  if (auto done = encode(held_.get()); !done) return std::move(done.error());
  if (auto done = encode(nullptr); !done) return std::move(done.error());
  if (auto done = write_audio_until(HUGE_VAL); !done) return std::move(done.error());
  auto content = writer_->finish();
  if (!content) return std::move(content.error());
  auto check = scan_source(*content, "mp4");
  if (!check) return std::move(check.error());
  video.frames = times_.count();
  if (check->index.frame_count() != video.frames)
    return Error{ErrorCode::kInternal,
                 fmt::format("{} frames went into the encoder, the output shows {}", video.frames,
                             check->index.frame_count()),
                 {},
                 {},
                 {}};
  video.content = std::move(*content);
  video.source_bytes = source->size();
  video.bytes = video.content->size();
  video.source_cost = window_cost(scan->index);
  video.cost = window_cost(check->index);
  video.width = static_cast<std::uint32_t>(shape_.width);
  video.height = static_cast<std::uint32_t>(shape_.height);
  return video;
}

/// Everything that hangs on what the first frame is like.
Result<void> Transcoder::begin(const AVFrame& first) {
  const AVStream& stream = input_->stream();
  auto shape = decide_shape(spec_, first, stream);
  if (!shape) return std::move(shape.error());
  shape_ = *shape;
  time_base_ = stream.time_base;
  double fps = scan_->average_fps;
  if (spec_.fps.numerator > 0) {
    time_base_ = {spec_.fps.denominator, spec_.fps.numerator};
    fps = 1 / av_q2d(time_base_);
  }
  auto encoder = VideoEncoder::open(spec_, shape_, fps);
  if (!encoder) return std::move(encoder.error());
  encoder_ = std::move(*encoder);
  const AVCodecParametersPtr codec(avcodec_parameters_alloc());
  if (codec == nullptr || avcodec_parameters_from_context(codec.get(), &encoder_->context()) < 0)
    return av_failure(ErrorCode::kMemory, "describe the output", AVERROR(ENOMEM));
  // What players of other makers ask for; parameter sets are in the head only.
  if (codec->codec_id == AV_CODEC_ID_HEVC) codec->codec_tag = MKTAG('h', 'v', 'c', '1');
  auto added = writer_->add_stream(*codec, time_base_, &stream);
  if (!added) return std::move(added.error());
  video_stream_ = *added;
  if (audio_ != nullptr) {
    const AVCodecParameters& sound = *audio_->stream().codecpar;
    if (!mp4_holds(sound.codec_id))
      return Error{ErrorCode::kUnsupported,
                   fmt::format("audio=copy: mp4 has no place for {} audio; use audio=drop",
                               avcodec_get_name(sound.codec_id)),
                   {},
                   {},
                   {}};
    const AVCodecParametersPtr copy(avcodec_parameters_alloc());
    if (copy == nullptr || avcodec_parameters_copy(copy.get(), &sound) < 0)
      return av_failure(ErrorCode::kMemory, "describe the audio", AVERROR(ENOMEM));
    copy->codec_tag = 0;  // the other container's
    auto second = writer_->add_stream(*copy, audio_->stream().time_base, nullptr);
    if (!second) return std::move(second.error());
    audio_stream_ = *second;
  }
  return writer_->begin();
}

/// Scale and convert a decoded frame; a source may change size or format on the way, the output
/// does not.
Result<void> Transcoder::shape(AVFrame& frame) {
  if (!encoder_) {
    if (auto begun = begin(frame); !begun) return begun;
  }
  if (matches(shape_, frame)) return rate(frame);
  if (!shaper_ || !shaper_->takes(frame)) {
    auto filter =
        FrameFilter::open(shaping_filters(shape_, frame), frame, input_->stream().time_base);
    if (!filter) return std::move(filter.error());
    shaper_ = std::move(*filter);
  }
  const std::int64_t time = frame.pts;
  if (auto pushed = shaper_->push(&frame); !pushed) return pushed;
  const FrameScope scope(*shaped_);
  auto got = shaper_->pull(*shaped_);
  if (!got) return std::move(got.error());
  if (!*got) return Error{ErrorCode::kInternal, "a scaled frame did not come out", {}, {}, {}};
  shaped_->pts = time;
  return rate(*shaped_);
}

/// Leave out or repeat frames for `fps`.
Result<void> Transcoder::rate(AVFrame& frame) {
  if (spec_.fps.numerator == 0) return take(frame);
  if (!rater_) {
    auto filter = FrameFilter::open(
        fmt::format("fps=fps={}/{}:round=near", spec_.fps.numerator, spec_.fps.denominator), frame,
        input_->stream().time_base);
    if (!filter) return std::move(filter.error());
    rater_ = std::move(*filter);
  }
  if (auto pushed = rater_->push(&frame); !pushed) return pushed;
  return drain_rate();
}

Result<void> Transcoder::drain_rate() {
  // A gap of years in a source's times would be filled with copies.
  const std::int64_t most = 100 * scan_->index.frame_count() + 10'000;
  for (;;) {
    if (stop_.stop_requested())
      return Error{ErrorCode::kStopped, "stopped while transcoding", {}, {}, {}};
    const FrameScope scope(*rated_);
    auto got = rater_->pull(*rated_);
    if (!got) return std::move(got.error());
    if (!*got) return {};
    if (times_.count() >= most)
      return Error{
          ErrorCode::kTooLarge,
          fmt::format("fps={}/{} would make more than {} frames of {}", spec_.fps.numerator,
                      spec_.fps.denominator, most, scan_->index.frame_count()),
          {},
          {},
          {}};
    if (auto taken = take(*rated_); !taken) return taken;
  }
}

/// Encode the frame before this one, whose duration is now known.
Result<void> Transcoder::take(AVFrame& frame) {
  if (holding_) {
    last_ticks_ = frame.pts - times_.last();
    times_.add(frame.pts);
    if (auto done = encode(held_.get()); !done) return done;
  } else {
    times_.add(frame.pts);
  }
  av_frame_unref(held_.get());
  if (const int status = av_frame_ref(held_.get(), &frame); status < 0)
    return av_failure(ErrorCode::kMemory, "hold a frame", status);
  holding_ = true;
  return {};
}

Result<void> Transcoder::encode(AVFrame* frame) {
  // Frames of the source without a filter may be shared with its decoder; only their facts change.
  if (auto sent = encoder_->send(frame); !sent) return sent;
  for (;;) {
    if (stop_.stop_requested())
      return Error{ErrorCode::kStopped, "stopped while transcoding", {}, {}, {}};
    const PacketScope scope(*packet_);
    auto got = encoder_->receive(*packet_);
    if (!got) return std::move(got.error());
    if (!*got) return {};
    const std::int64_t number = packet_->pts;
    packet_->dts = times_.of(packet_->dts);
    packet_->pts = times_.of(number);
    packet_->duration = times_.of(number + 1) - packet_->pts;
    if (auto done = write_audio_until(static_cast<double>(packet_->dts) * av_q2d(time_base_));
        !done)
      return done;
    if (auto done = writer_->write(*packet_, video_stream_); !done) return done;
  }
}

/// Audio goes before the video that is decoded later, as players read both.
Result<void> Transcoder::write_audio_until(double seconds) {
  if (audio_ == nullptr) return {};
  const double source_seconds = seconds - static_cast<double>(times_.shift()) * av_q2d(time_base_);
  return audio_->write_until(source_seconds, times_.shift(), time_base_, *writer_, audio_stream_,
                             true);
}

}  // namespace

Result<TranscodedVideo> transcode_video(std::shared_ptr<const RandomAccess> source,
                                        const std::string& field, const TranscodeSpec& spec,
                                        const std::string& spool_dir, const std::stop_token& stop) {
  return Transcoder(spec, stop).run(source, field, spool_dir);
}

}  // namespace shardreel::tools
