#include "tools/pack/source_frames.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "loader/media/av_error.h"

namespace shardreel::tools {
namespace {

/// The first packet that decoding can start at, where those before it are not shown anyway.
std::size_t first_useful(const PacketIndex& index) {
  const auto packets = index.packets();
  for (std::size_t i = 0; i < packets.size(); ++i) {
    if (packets[i].traits.start != RandomAccessPoint::kNone) return i;
    if (packets[i].traits.shown > 0) return 0;
  }
  return 0;
}

}  // namespace

Result<SourceFrames> SourceFrames::open(std::shared_ptr<const RandomAccess> source,
                                        const std::string& field, const SourceScan& scan) {
  auto demuxer = Demuxer::open(std::move(source), field);
  if (!demuxer) return std::move(demuxer.error());
  SourceFrames frames;
  frames.demuxer_ = std::make_unique<Demuxer>(std::move(*demuxer));
  frames.scan_ = &scan;
  frames.first_ = first_useful(scan.index);
  const AVStream& stream = frames.stream();
  const double tick = av_q2d(stream.time_base);
  frames.frame_ticks_ = std::max<std::int64_t>(1, std::llround(1 / (scan.average_fps * tick)));
  const AVCodec* codec = avcodec_find_decoder(stream.codecpar->codec_id);
  frames.packet_.reset(av_packet_alloc());
  frames.decoder_.reset(avcodec_alloc_context3(codec));
  if (codec == nullptr || frames.packet_ == nullptr || frames.decoder_ == nullptr)
    return av_failure(ErrorCode::kMemory, "open a decoder", AVERROR(ENOMEM));
  AVCodecContext& decoder = *frames.decoder_;
  const AvMessage message;
  int status = avcodec_parameters_to_context(&decoder, stream.codecpar);
  if (status >= 0) {
    decoder.thread_count = 1;
    decoder.pkt_timebase = stream.time_base;
    // An H.264 decoder that was not told guesses how many frames to hold back.
    decoder.has_b_frames = std::max(decoder.has_b_frames, scan.held_back);
    status = avcodec_open2(&decoder, codec, nullptr);
  }
  if (status < 0)
    return message.explain(av_failure(ErrorCode::kUnsupported,
                                      fmt::format("open the decoder {}", codec->name), status));
  return frames;
}

Error SourceFrames::damaged(const char* what, int status) const {
  return av_failure(
      ErrorCode::kDecodeError,
      fmt::format("{} behind frame {} of {}", what, frames_, scan_->index.frame_count()), status);
}

/// Give the decoder one packet, or the end.
Result<void> SourceFrames::feed() {
  const AvMessage message;
  const PacketScope scope(*packet_);
  auto got = demuxer_->next(*packet_);
  if (!got) return std::move(got.error());
  draining_ = !*got;
  if (!draining_ && fed_++ < first_) return {};
  const int status = avcodec_send_packet(decoder_.get(), draining_ ? nullptr : packet_.get());
  if (status == AVERROR(ENOMEM)) return av_failure(ErrorCode::kMemory, "decode a packet", status);
  // An error in a packet that shows nothing loses nothing (leading pictures of the first keyframe).
  const auto packets = scan_->index.packets();
  const bool hidden = !draining_ && fed_ <= packets.size() && packets[fed_ - 1].traits.shown == 0;
  if (status < 0 && status != AVERROR_EOF && !hidden)
    return message.explain(damaged("decode a packet", status));
  return {};
}

// Times must ascend for an encoder. A step back by more than a second is taken as a clock that was
// set anew: the video goes on behind what came before. Others (duplicates, jitter) move by a tick.
void SourceFrames::settle_time(AVFrame& frame) {
  std::int64_t time = frame.pts != AV_NOPTS_VALUE ? frame.pts : frame.best_effort_timestamp;
  // Where times do not tell the order of frames, the k-th frame is shown at the k-th time.
  const auto& times = scan_->index.frame_times();
  const auto frame_number = static_cast<std::size_t>(frames_);
  if (scan_->index.times_unused() && frame_number < times.size()) time = times[frame_number];
  if (last_time_ == kNoTime) {
    if (time == AV_NOPTS_VALUE) time = 0;
  } else if (time == AV_NOPTS_VALUE) {
    time = last_time_ + frame_ticks_;
  } else {
    time += shift_;
    const double back = static_cast<double>(last_time_ - time) * av_q2d(stream().time_base);
    if (back > 1) {
      shift_ += last_time_ + frame_ticks_ - time;
      time = last_time_ + frame_ticks_;
    }
    time = std::max(time, last_time_ + 1);
  }
  frame.pts = last_time_ = time;
}

Result<bool> SourceFrames::next(AVFrame& frame) {
  for (;;) {
    const int status = avcodec_receive_frame(decoder_.get(), &frame);
    if (status == AVERROR(EAGAIN) && !draining_) {
      if (auto fed = feed(); !fed) return std::move(fed.error());
      continue;
    }
    if (status == AVERROR_EOF || status == AVERROR(EAGAIN)) break;
    if (status == AVERROR(ENOMEM)) return av_failure(ErrorCode::kMemory, "decode a frame", status);
    if (status < 0) return damaged("decode a frame", status);
    if ((frame.flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame.decode_error_flags != 0)
      return damaged("the decoder flags a frame as corrupt", AVERROR_INVALIDDATA);
    settle_time(frame);
    ++frames_;
    return true;
  }
  if (frames_ != scan_->index.frame_count())
    return Error{ErrorCode::kDecodeError,
                 fmt::format("{} frames were decoded, the packets promise {}", frames_,
                             scan_->index.frame_count()),
                 {},
                 {},
                 {}};
  return false;
}

}  // namespace shardreel::tools
