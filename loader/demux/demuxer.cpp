#include "loader/demux/demuxer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>
#include <vector>

#include "loader/media/av_error.h"

extern "C" {
#include <libavutil/dict.h>
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
}

namespace shardreel {
namespace {

// Real media only. Left out on purpose: whatever opens further files or hosts (hls, dash, concat,
// sdp, image2), reads devices, or takes any bytes at all (rawvideo, tty), and single pictures but
// WebP, whose files may hold a video.
constexpr const char* kDemuxers =
    "mov,matroska,avi,mpegts,mpeg,mpegvideo,flv,live_flv,ogg,asf,h261,h263,h264,hevc,m4v,mjpeg,ivf,"
    "obu,av1,vc1,dv,mxf,nut,rm,gxf,wtv,swf,dnxhd,dirac,cavsvideo,avs2,avs3,yuv4mpegpipe,nsv,pva,"
    "gif,webp_pipe";

int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) noexcept {
  return AVERROR(EPERM);
}

/// The name that probing sees: only an extension, never a path.
std::string hint_name(const std::string& field) {
  const auto dot = field.rfind('.');
  std::string extension = dot == std::string::npos ? field : field.substr(dot + 1);
  std::erase_if(extension, [](unsigned char c) { return std::isalnum(c) == 0; });
  return extension.empty() ? std::string("video") : "video." + extension;
}

/// Find the demuxer by the bytes, as avformat_open_input would; null when none fits.
const AVInputFormat* probe_format(AVIOContext* input, const std::string& name) {
  const AVInputFormat* found = nullptr;
  if (av_probe_input_buffer2(input, &found, name.c_str(), nullptr, 0, 0) < 0) return nullptr;
  // A sequence of JPEG pictures looks like one picture: here the name decides.
  if (std::string_view(found->name) == "jpeg_pipe" && name.ends_with(".mjpeg"))
    return av_find_input_format("mjpeg");
  return found;
}

bool is_container(const AVFormatContext& format, std::string_view name) {
  return std::string_view(format.iformat->name).starts_with(name);
}

bool is_video(const AVStream& stream) {
  return stream.codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
         (stream.disposition & AV_DISPOSITION_ATTACHED_PIC) == 0;
}

std::uint32_t count_videos(const AVFormatContext& format) {
  std::uint32_t count = 0;
  for (unsigned i = 0; i < format.nb_streams; ++i) count += is_video(*format.streams[i]) ? 1 : 0;
  return count;
}

/// The video stream that FFmpeg's own choice is of those that are no `pictures`; null when there is
/// none.
AVStream* best_stream(AVFormatContext& format, const std::vector<bool>& pictures) {
  // Pictures take no part, however they are flagged.
  std::vector<AVCodecParameters*> left_out;
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    AVCodecParameters* codec = format.streams[i]->codecpar;
    const bool picture = !is_video(*format.streams[i]) || (i < pictures.size() && pictures[i]);
    if (codec->codec_type != AVMEDIA_TYPE_VIDEO || !picture) continue;
    codec->codec_type = AVMEDIA_TYPE_ATTACHMENT;
    left_out.push_back(codec);
  }
  const AVCodec* decoder = nullptr;
  int best = av_find_best_stream(&format, AVMEDIA_TYPE_VIDEO, -1, -1, &decoder, 0);
  if (best == AVERROR_DECODER_NOT_FOUND)
    best = av_find_best_stream(&format, AVMEDIA_TYPE_VIDEO, -1, -1, nullptr, 0);
  for (AVCodecParameters* codec : left_out) codec->codec_type = AVMEDIA_TYPE_VIDEO;
  return best < 0 ? nullptr : format.streams[best];
}

/// Whether the container alone tells all that decoding needs, and all of `probing`. Only for
/// containers and codecs for which tests show that packets and frames are the same as after
/// probing, which costs 10 to 30 times the open itself (it starts decoders).
bool complete_without_probing(const AVFormatContext& format, Demuxer::Probing probing) {
  if (probing == Demuxer::Probing::kAlways) return false;
  if (!is_container(format, "mov") && !is_container(format, "matroska")) return false;
  if ((format.ctx_flags & AVFMTCTX_NOHEADER) != 0) return false;
  const AVStream* video = nullptr;
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    const AVStream& stream = *format.streams[i];
    if (video == nullptr && stream.codecpar->codec_type == AVMEDIA_TYPE_UNKNOWN) return false;
    if (!is_video(stream)) continue;
    if (video != nullptr) return false;  // which is the best goes by the frames that probing sees
    video = &stream;
  }
  if (video == nullptr) return true;  // nothing that probing could add
  const AVCodecParameters& codec = *video->codecpar;
  if (codec.width <= 0 || codec.height <= 0) return false;
  if (probing == Demuxer::Probing::kForAspect && video->sample_aspect_ratio.num <= 0) return false;
  switch (codec.codec_id) {
    case AV_CODEC_ID_H264:
    case AV_CODEC_ID_HEVC:
    case AV_CODEC_ID_MPEG4: return codec.extradata_size > 0;
    case AV_CODEC_ID_VP8:
    case AV_CODEC_ID_VP9:
    case AV_CODEC_ID_AV1:
    case AV_CODEC_ID_MJPEG: return true;
    default: return false;
  }
}

/// Whether each video stream's pictures are known.
bool shows_pictures(const AVFormatContext& format) {
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    const AVCodecParameters& codec = *format.streams[i]->codecpar;
    if (codec.codec_type == AVMEDIA_TYPE_VIDEO && (codec.width <= 0 || codec.height <= 0))
      return false;
  }
  return true;
}

}  // namespace

Result<Demuxer> Demuxer::open(std::shared_ptr<const RandomAccess> source, const std::string& field,
                              Probing probing, std::uint64_t most_pixels) {
  silence_av_log();
  const auto open_unchosen = [&]() -> Result<Demuxer> {
    auto io = AvIo::make(source);
    if (!io) return std::move(io.error());
    Demuxer demuxer(std::move(*io), most_pixels);
    if (auto opened = demuxer.open_container(field, probing); !opened)
      return std::move(opened.error());
    return demuxer;
  };
  std::vector<bool> pictures;
  auto first = open_unchosen();
  if (!first) return std::move(first.error());
  const bool several = count_videos(*first->format_) > 1;
  if (several) {
    auto found = first->find_pictures();
    if (!found) return std::move(found.error());
    pictures = std::move(*found);
  }
  // Looking for pictures has read on: begin again.
  auto demuxer = several ? open_unchosen() : std::move(first);
  if (!demuxer) return std::move(demuxer.error());
  if (auto chosen = demuxer->choose_stream(pictures); !chosen) return std::move(chosen.error());
  return demuxer;
}

Result<void> Demuxer::open_container(const std::string& field, Probing probing) {
  const AvMessage message;
  AVFormatContext* format = avformat_alloc_context();
  if (format == nullptr) return av_failure(ErrorCode::kMemory, "open a video", AVERROR(ENOMEM));
  format->pb = io_.context();
  format->flags |= AVFMT_FLAG_CUSTOM_IO;
  format->io_open = &refuse_to_open;
  AVDictionary* options = nullptr;
  av_dict_set(&options, "format_whitelist", kDemuxers, 0);
  av_dict_set(&options, "protocol_whitelist", "none", 0);
  const std::string name = hint_name(field);
  const AVInputFormat* demuxer = probe_format(io_.context(), name);
  int opened = AVERROR_INVALIDDATA;
  if (demuxer != nullptr)  // frees the context on error
    opened = avformat_open_input(&format, name.c_str(), demuxer, &options);
  else
    avformat_free_context(format);
  av_dict_free(&options);
  format_.reset(opened < 0 ? nullptr : format);
  if (opened < 0) {
    if (io_.error()) return *io_.error();
    if (message.text().starts_with("Format not on whitelist"))  // and then it lists them all
      return Error{.code = ErrorCode::kNotMedia,
                   .message = fmt::format("open field {}: {} is not among the allowed video "
                                          "containers",
                                          field, demuxer->name)};
    return message.explain(
        av_failure(ErrorCode::kNotMedia,
                   fmt::format("open field {}: no video container in these bytes", field), opened));
  }
  probed_ = !complete_without_probing(*format_, probing);
  return probed_ ? probe(field) : Result<void>();
}

Result<void> Demuxer::probe(const std::string& field) {
  const AvMessage message;
  // For the streams that the container has shown so far; those it shows later have FFmpeg's bound.
  std::vector<AVDictionary*> options(format_->nb_streams, nullptr);
  const auto most = static_cast<std::int64_t>(std::min<std::uint64_t>(most_pixels_, INT32_MAX));
  for (AVDictionary*& of : options) av_dict_set_int(&of, "max_pixels", most, 0);
  const int status =
      avformat_find_stream_info(format_.get(), options.empty() ? nullptr : options.data());
  for (AVDictionary*& of : options) av_dict_free(&of);
  if (io_.error()) return *io_.error();
  if (status < 0)
    return message.explain(
        av_failure(ErrorCode::kDecodeError, "find the streams of field " + field, status));
  const auto large = refused_size(message.text());
  if (!large || shows_pictures(*format_)) return {};
  return Error{.code = ErrorCode::kMemory,
               .message = fmt::format("find the streams of field {}: the first picture has {}x{}, "
                                      "and at most {} pixels may be decoded to look at it; raise "
                                      "memory_bytes or lower shuffle_bytes",
                                      field, large->width, large->height, most)};
}

/// Which video streams show one picture at most, while others go on; reads ahead.
Result<std::vector<bool>> Demuxer::find_pictures() {
  constexpr std::size_t kLookedAt = 256;  // packets of video: a few seconds
  std::vector<std::size_t> packets(format_->nb_streams);
  std::vector<bool> pictures(format_->nb_streams);
  const AVPacketPtr packet(av_packet_alloc());
  if (packet == nullptr)
    return av_failure(ErrorCode::kMemory, "look at several video streams", AVERROR(ENOMEM));
  const auto goes_on = [&](std::size_t stream) { return packets[stream] > 1; };
  const auto undecided = [&] {
    for (unsigned i = 0; i < packets.size(); ++i) {
      if (is_video(*format_->streams[i]) && !goes_on(i)) return true;
    }
    return false;
  };
  for (std::size_t seen = 0; seen < kLookedAt && undecided();) {
    const PacketScope scope(*packet);
    const int got = av_read_frame(format_.get(), packet.get());
    if (io_.error()) return *io_.error();
    if (got < 0) break;
    const auto stream = static_cast<std::size_t>(packet->stream_index);
    if (stream >= packets.size() || !is_video(*format_->streams[stream])) continue;
    ++packets[stream];
    ++seen;
  }
  bool any = false;
  for (std::size_t i = 0; i < packets.size(); ++i) any = any || goes_on(i);
  for (std::size_t i = 0; i < packets.size(); ++i)
    pictures[i] = any && is_video(*format_->streams[i]) && !goes_on(i);
  return pictures;
}

Result<void> Demuxer::choose_stream(const std::vector<bool>& pictures) {
  stream_ = best_stream(*format_, pictures);
  video_streams_ = count_videos(*format_);
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    AVStream* stream = format_->streams[i];
    if (stream != stream_) stream->discard = AVDISCARD_ALL;
  }
  if (stream_ == nullptr)
    return Error{.code = ErrorCode::kNoVideoStream,
                 .message = fmt::format("{} streams, none of them is video (cover art is not)",
                                        format_->nb_streams)};
  const AVCodecParameters& codec = *stream_->codecpar;
  if (av_stream_get_side_data(stream_, AV_PKT_DATA_ENCRYPTION_INIT_INFO, nullptr) != nullptr ||
      av_dict_get(stream_->metadata, "enc_key_id", nullptr, 0) != nullptr)
    return Error{.code = ErrorCode::kEncrypted,
                 .message = fmt::format("stream {} is encrypted", stream_->index)};
  if (codec.codec_id == AV_CODEC_ID_NONE || avcodec_find_decoder(codec.codec_id) == nullptr) {
    std::array<char, AV_FOURCC_MAX_STRING_SIZE> tag{};
    return Error{
        .code = ErrorCode::kUnsupported,
        .message = fmt::format("no decoder for codec {} (tag {})", avcodec_get_name(codec.codec_id),
                               av_fourcc_make_string(tag.data(), codec.codec_tag))};
  }
  if (probed_ && (codec.width <= 0 || codec.height <= 0))
    return Error{.code = ErrorCode::kDecodeError,
                 .message = fmt::format("no picture of codec {} found while probing",
                                        avcodec_get_name(codec.codec_id))};
  // The same bound as the decoders have, checked before anything is planned with the size.
  if ((codec.width != 0 || codec.height != 0) &&
      (codec.width < 0 || codec.height < 0 ||
       av_image_check_size2(static_cast<unsigned>(codec.width), static_cast<unsigned>(codec.height),
                            INT64_MAX, AV_PIX_FMT_NONE, 0, nullptr) < 0))
    return Error{.code = ErrorCode::kUnsupported,
                 .message = fmt::format("impossible size {}x{}", codec.width, codec.height)};
  return {};
}

Result<bool> Demuxer::next(AVPacket& packet) {
  // A demuxer may ask to be called again; one that only ever does that has to be stopped.
  constexpr int kMaxRetries = 1000;
  for (int retries = 0;;) {
    const int got = av_read_frame(format_.get(), &packet);
    if (io_.error()) return *io_.error();
    if (got == AVERROR(EAGAIN) && ++retries < kMaxRetries) continue;
    if (got == AVERROR(ENOMEM)) return av_failure(ErrorCode::kMemory, "read a packet", got);
    if (got < 0) {
      cut_short_ = cut_short_ || got != AVERROR_EOF;
      return false;
    }
    if (packet.stream_index == stream_->index) return true;
    av_packet_unref(&packet);
  }
}

AVRational Demuxer::sample_aspect() const {
  constexpr std::int64_t kMost = UINT16_MAX;
  const AVRational guess = av_guess_sample_aspect_ratio(format_.get(), stream_, nullptr);
  AVRational aspect{0, 1};
  if (guess.num > 0 && guess.den > 0)
    av_reduce(&aspect.num, &aspect.den, guess.num, guess.den, kMost);
  return aspect.num > 0 && aspect.den > 0 ? aspect : AVRational{0, 1};
}

bool Demuxer::has_index() const noexcept {
  return is_container(*format_, "mov") || is_container(*format_, "matroska");
}

bool Demuxer::seek(std::int64_t dts, std::int64_t pts) {
  // mov's index holds decoding times, matroska's cues presentation times.
  const std::int64_t target = is_container(*format_, "mov") ? dts : pts;
  if (target == AV_NOPTS_VALUE) return false;
  return av_seek_frame(format_.get(), stream_->index, target, AVSEEK_FLAG_BACKWARD) >= 0 &&
         !io_.error();
}

}  // namespace shardreel
