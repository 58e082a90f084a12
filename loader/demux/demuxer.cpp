#include "loader/demux/demuxer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <utility>

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

/// Whether the container alone tells all that decoding needs. Only for containers and codecs for
/// which tests show that packets and frames are the same as after probing, which costs 10 to 30
/// times the open itself (it starts decoders).
bool complete_without_probing(const AVFormatContext& format) {
  if (!is_container(format, "mov") && !is_container(format, "matroska")) return false;
  if ((format.ctx_flags & AVFMTCTX_NOHEADER) != 0) return false;
  for (unsigned i = 0; i < format.nb_streams; ++i) {
    const AVStream& stream = *format.streams[i];
    const AVCodecParameters& codec = *stream.codecpar;
    if (codec.codec_type == AVMEDIA_TYPE_UNKNOWN) return false;
    if (codec.codec_type != AVMEDIA_TYPE_VIDEO) continue;
    if ((stream.disposition & AV_DISPOSITION_ATTACHED_PIC) != 0) continue;
    if (codec.width <= 0 || codec.height <= 0) return false;
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
  return true;  // no video stream: nothing that probing could add
}

}  // namespace

Result<Demuxer> Demuxer::open(std::shared_ptr<const RandomAccess> source, const std::string& field,
                              Probing probing) {
  silence_av_log();
  auto io = AvIo::make(std::move(source));
  if (!io) return std::move(io.error());
  Demuxer demuxer(std::move(*io));
  if (auto opened = demuxer.open_container(field, probing); !opened)
    return std::move(opened.error());
  if (auto chosen = demuxer.choose_stream(); !chosen) return std::move(chosen.error());
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
  probed_ = probing == Probing::kAlways || !complete_without_probing(*format_);
  if (probed_) {
    const int probe = avformat_find_stream_info(format_.get(), nullptr);
    if (io_.error()) return *io_.error();
    if (probe < 0)
      return message.explain(
          av_failure(ErrorCode::kDecodeError, "find the streams of field " + field, probe));
  }
  return {};
}

Result<void> Demuxer::choose_stream() {
  for (unsigned i = 0; i < format_->nb_streams; ++i) {
    AVStream* stream = format_->streams[i];
    const bool video = stream->codecpar->codec_type == AVMEDIA_TYPE_VIDEO &&
                       (stream->disposition & AV_DISPOSITION_ATTACHED_PIC) == 0;
    if (video && stream_ == nullptr)
      stream_ = stream;
    else
      stream->discard = AVDISCARD_ALL;
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
