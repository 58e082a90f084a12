#include "tools/pack/video_encoder.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "loader/media/av_error.h"

extern "C" {
#include <libavutil/dict.h>
#include <libavutil/pixdesc.h>
}

namespace shardreel::tools {
namespace {

class Options {
 public:
  Options() = default;
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
  ~Options() { av_dict_free(&options_); }
  void set(const char* key, const std::string& value) {
    av_dict_set(&options_, key, value.c_str(), 0);
  }
  AVDictionary** get() noexcept { return &options_; }
  /// The name of an option that the encoder did not know, or null.
  [[nodiscard]] const char* left_over() const noexcept {
    const AVDictionaryEntry* entry = av_dict_get(options_, "", nullptr, AV_DICT_IGNORE_SUFFIX);
    return entry == nullptr ? nullptr : entry->key;
  }

 private:
  AVDictionary* options_ = nullptr;
};

const char* encoder_name(TranscodeCodec codec) {
  switch (codec) {
    case TranscodeCodec::kH264: return "libx264";
    case TranscodeCodec::kHevc: return "libx265";
    case TranscodeCodec::kVp9: return "libvpx-vp9";
    case TranscodeCodec::kAv1: return "libaom-av1";  // SVT-AV1 cannot be held to one thread
  }
  return "";
}

// B frames that nothing refers to are what a reader of windows may leave out, so pyramids (B frames
// as references) are off: three of four frames of a group can then be skipped on the way to a
// window.
void set_options(const TranscodeSpec& spec, AVCodecContext& context, Options& options) {
  options.set("crf", std::to_string(spec.crf));
  switch (spec.codec) {
    case TranscodeCodec::kH264:
      options.set("preset", spec.preset);
      if (spec.fastdecode) options.set("tune", "fastdecode");
      options.set("sc_threshold", "0");
      options.set("forced-idr", "1");
      options.set("a53cc", "0");
      options.set("b-pyramid", "none");
      options.set("x264-params",
                  "cpu-independent=1:open-gop=0:bframes=3:b-adapt=0:sliced-threads=0");
      break;
    case TranscodeCodec::kHevc:
      options.set("preset", spec.preset);
      if (spec.fastdecode) options.set("tune", "fastdecode");
      options.set("forced-idr", "1");
      options.set(
          "x265-params",
          fmt::format("log-level=none:info=0:pools=none:frame-threads=1:wpp=0:pmode=0:"
                      "pme=0:keyint={0}:min-keyint={0}:scenecut=0:open-gop=0:b-pyramid=0:b-adapt=0:"
                      "bframes=3",
                      spec.gop));
      break;
    case TranscodeCodec::kVp9:
      options.set("deadline", "good");
      options.set("cpu-used", spec.preset);
      options.set("row-mt", "0");
      break;
    case TranscodeCodec::kAv1:
      options.set("cpu-used", spec.preset);
      options.set("row-mt", "0");
      break;
  }
  context.gop_size = spec.gop;
  context.keyint_min = spec.gop;
  context.bit_rate = 0;  // quality alone decides (vp9, av1)
}

}  // namespace

Result<VideoEncoder> VideoEncoder::open(const TranscodeSpec& spec, const PictureShape& shape,
                                        double fps) {
  const char* name = encoder_name(spec.codec);
  const AVCodec* encoder = avcodec_find_encoder_by_name(name);
  if (encoder == nullptr)
    return Error{
        ErrorCode::kUnsupported, fmt::format("this FFmpeg has no encoder {}", name), {}, {}, {}};
  AVCodecContextPtr context(avcodec_alloc_context3(encoder));
  if (context == nullptr) return av_failure(ErrorCode::kMemory, "open an encoder", AVERROR(ENOMEM));
  context->width = shape.width;
  context->height = shape.height;
  context->pix_fmt = shape.format;
  context->sample_aspect_ratio = shape.sample_aspect;
  context->color_range = shape.range;
  context->colorspace = shape.matrix;
  context->color_primaries = shape.primaries;
  context->color_trc = shape.transfer;
  context->chroma_sample_location = shape.chroma;
  context->framerate = av_d2q(std::clamp(fps, 1.0, 240.0), 60'000);
  context->time_base = av_inv_q(context->framerate);
  context->thread_count = 1;
  context->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_CLOSED_GOP | AV_CODEC_FLAG_BITEXACT;
  Options options;
  set_options(spec, *context, options);
  const AvMessage message;
  const int status = avcodec_open2(context.get(), encoder, options.get());
  if (status < 0)
    return message.explain(
        av_failure(ErrorCode::kUnsupported,
                   fmt::format("open the encoder {} for {}x{} {}", name, shape.width, shape.height,
                               av_get_pix_fmt_name(shape.format)),
                   status));
  if (options.left_over() != nullptr)
    return Error{ErrorCode::kInternal,
                 fmt::format("the encoder {} has no option {}", name, options.left_over()),
                 {},
                 {},
                 {}};
  return VideoEncoder(std::move(context));
}

Result<void> VideoEncoder::send(AVFrame* frame) {
  const AvMessage message;
  if (frame != nullptr) {
    frame->pts = sent_;
    frame->pkt_duration = 1;
    // Asked for as well as set up: x264 and x265 count from the last keyframe only. The AV1 encoder
    // keeps the distance by itself, and answers a request with a second keyframe.
    const bool ask =
        context_->codec_id == AV_CODEC_ID_H264 || context_->codec_id == AV_CODEC_ID_HEVC;
    frame->pict_type =
        ask && sent_ % context_->gop_size == 0 ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    frame->key_frame = 0;
    frame->interlaced_frame = 0;
    // Captions, regions of interest and the like would steer the encoder or end up in the video.
    while (frame->nb_side_data > 0) av_frame_remove_side_data(frame, frame->side_data[0]->type);
    ++sent_;
  }
  const int status = avcodec_send_frame(context_.get(), frame);
  if (status < 0)
    return message.explain(
        av_failure(ErrorCode::kUnsupported, fmt::format("encode frame {}", sent_), status));
  return {};
}

Result<bool> VideoEncoder::receive(AVPacket& packet) {
  const AvMessage message;
  const int status = avcodec_receive_packet(context_.get(), &packet);
  if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return false;
  if (status < 0)
    return message.explain(av_failure(ErrorCode::kUnsupported, "encode a frame", status));
  return true;
}

}  // namespace shardreel::tools
