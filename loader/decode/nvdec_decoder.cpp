#include "loader/decode/nvdec_decoder.h"

#include <cuda.h>
#include <fmt/format.h>

#include <optional>
#include <utility>

#include "loader/decode/ffmpeg_decoder.h"
#include "loader/device/cuda/cuda_device.h"
#include "loader/device/cuda/primary_context.h"
#include "loader/media/av_error.h"
#include "loader/media/av_handles.h"

extern "C" {
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_cuda.h>
#include <libavutil/pixdesc.h>
}

namespace shardreel {
namespace {

// Surfaces beyond what the codec needs: those of frames whose conversion is in line.
constexpr int kExtraSurfaces = 6;
constexpr std::string_view kNoMemory = "CUDA_ERROR_OUT_OF_MEMORY";

using BufferPtr = std::unique_ptr<AVBufferRef, AvDeleter<av_buffer_unref>>;

/// Skip the columns and rows that a stream hides at the left and at the top: libavcodec takes them
/// off frames in host memory only.
Result<void> hide_left_and_top(AVFrame& frame, const AVPixFmtDescriptor& format) {
  const auto left = static_cast<int>(frame.crop_left), top = static_cast<int>(frame.crop_top);
  if (left == 0 && top == 0) return {};
  const int across = 1 << format.log2_chroma_w, down = 1 << format.log2_chroma_h;
  if (left % across != 0 || top % down != 0 || left >= frame.width || top >= frame.height) {
    return Error{
        .code = ErrorCode::kUnsupported,
        .message = fmt::format("a GPU's frame that hides {} columns and {} rows", left, top)};
  }
  for (int plane = 0; plane < 3 && frame.data[plane] != nullptr; ++plane) {
    int bytes_along = 0, rows = top;
    for (int c = 0; c < format.nb_components; ++c) {
      const AVComponentDescriptor& component = format.comp[c];
      if (component.plane != plane || component.offset != 0) continue;
      const bool chroma = c == 1 || c == 2;
      bytes_along = (chroma ? left / across : left) * component.step;
      rows = chroma ? top / down : top;
    }
    frame.data[plane] += static_cast<std::ptrdiff_t>(rows) * frame.linesize[plane] + bytes_along;
  }
  frame.width -= left;
  frame.height -= top;
  frame.crop_left = frame.crop_top = 0;
  return {};
}

}  // namespace

struct NvdecDevice::Handle {
  // FFmpeg's handle goes first; the context is released after the last user of it.
  std::shared_ptr<Device> device;
  std::shared_ptr<Stream> stream;
  std::unique_ptr<cuda::PrimaryContext> context;
  BufferPtr ffmpeg;
};

NvdecDevice::NvdecDevice(std::unique_ptr<Handle> handle) : handle_(std::move(handle)) {}
NvdecDevice::~NvdecDevice() = default;

Result<std::shared_ptr<NvdecDevice>> NvdecDevice::open(std::shared_ptr<Device> device,
                                                       std::shared_ptr<Stream> stream) {
  const std::string doing = "opening FFmpeg's decoders on " + device->id().to_string();
  const AvMessage message;
  auto context = cuda::PrimaryContext::retain(device->id().index);
  if (!context) return context.error();
  auto handle = std::make_unique<Handle>();
  handle->context = std::move(*context);
  handle->ffmpeg.reset(av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_CUDA));
  if (!handle->ffmpeg) return av_failure(ErrorCode::kUnsupported, doing, AVERROR(ENOSYS));
  auto* base = reinterpret_cast<AVHWDeviceContext*>(handle->ffmpeg->data);
  auto* own = static_cast<AVCUDADeviceContext*>(base->hwctx);
  // Its own context would take hundreds of MiB, and share no memory with ours.
  own->cuda_ctx = static_cast<CUcontext>(handle->context->handle());
  own->stream = static_cast<CUstream>(cuda::native_stream(*stream));
  if (const int status = av_hwdevice_ctx_init(handle->ffmpeg.get()); status < 0)
    return message.explain(av_failure(ErrorCode::kUnsupported, doing, status));
  handle->device = std::move(device);
  handle->stream = std::move(stream);
  return std::shared_ptr<NvdecDevice>(new NvdecDevice(std::move(handle)));
}

namespace {

class NvdecSetup final : public CodecSetup {
 public:
  explicit NvdecSetup(std::shared_ptr<NvdecDevice> device) : device_(std::move(device)) {}

  [[nodiscard]] const AVCodec* find(const AVCodecParameters& parameters) const override {
    const AVCodec* decoder = avcodec_find_decoder(parameters.codec_id);
    for (int i = 0; decoder != nullptr; ++i) {
      const AVCodecHWConfig* config = avcodec_get_hw_config(decoder, i);
      if (config == nullptr) return nullptr;
      if (config->device_type == AV_HWDEVICE_TYPE_CUDA &&
          (config->methods & AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX) != 0)
        return decoder;
    }
    return nullptr;
  }

  Result<void> prepare(AVCodecContext& context) override {
    context.hw_device_ctx = av_buffer_ref(device_->handle().ffmpeg.get());
    if (context.hw_device_ctx == nullptr)
      return av_failure(ErrorCode::kMemory, "open a decoder", AVERROR(ENOMEM));
    context.extra_hw_frames = kExtraSurfaces;
    context.opaque = this;
    context.get_format = &choose_format;
    return {};
  }

  Result<void> accept(AVFrame& frame) override {
    const AVPixFmtDescriptor* format = nullptr;
    if (frame.format == AV_PIX_FMT_CUDA && frame.hw_frames_ctx != nullptr) {
      const auto* frames = reinterpret_cast<const AVHWFramesContext*>(frame.hw_frames_ctx->data);
      format = av_pix_fmt_desc_get(frames->sw_format);
    }
    if (format != nullptr) return hide_left_and_top(frame, *format);
    return Error{.code = ErrorCode::kUnsupported,
                 .message = "the GPU's decoder gave a frame that is not in its memory"};
  }

  std::optional<Error> own_failure() override {
    if (!refused_) return std::nullopt;
    const std::string_view said = message_ ? message_->text() : std::string_view();
    const bool memory = said.find(kNoMemory) != std::string_view::npos;
    return Error{.code = memory ? ErrorCode::kMemory : ErrorCode::kUnsupported,
                 .message = fmt::format("the GPU's decoder does not start: {}",
                                        said.empty() ? "not for this kind of video" : said)};
  }

  [[nodiscard]] bool goes_on_after_errors() const override { return false; }
  [[nodiscard]] bool avoids_flushes() const override { return true; }
  [[nodiscard]] std::uint64_t sessions_made() const override { return sessions_made_; }
  void begin_unit() noexcept override {
    refused_ = false;
    sessions_made_ = 0;
    message_.emplace();
  }
  void end_unit() noexcept override { message_.reset(); }
  void trim() noexcept override {}
  [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override { return 0; }

 private:
  /// Asked once with the GPU's format, and again without it when a session could not be made: then
  /// FFmpeg would decode in software and say nothing.
  static AVPixelFormat choose_format(AVCodecContext* context, const AVPixelFormat* offered) {
    auto& setup = *static_cast<NvdecSetup*>(context->opaque);
    for (; *offered != AV_PIX_FMT_NONE; ++offered) {
      if (*offered != AV_PIX_FMT_CUDA) continue;
      ++setup.sessions_made_;  // as soon as this returns
      return *offered;
    }
    setup.refused_ = true;
    return AV_PIX_FMT_NONE;
  }

  const std::shared_ptr<NvdecDevice> device_;
  bool refused_ = false;
  std::uint64_t sessions_made_ = 0;
  std::optional<AvMessage> message_;
};

}  // namespace

std::unique_ptr<VideoDecoder> make_nvdec_decoder(std::shared_ptr<NvdecDevice> device) {
  return make_ffmpeg_decoder(std::make_unique<NvdecSetup>(std::move(device)));
}

std::optional<PixelLayout> nvdec_layout(const AVFrame& frame) {
  if (frame.format != AV_PIX_FMT_CUDA || frame.hw_frames_ctx == nullptr) return std::nullopt;
  const auto* frames = reinterpret_cast<const AVHWFramesContext*>(frame.hw_frames_ctx->data);
  auto layout = pixel_layout(frames->sw_format);
  if (!layout) return std::nullopt;
  return *layout;
}

}  // namespace shardreel
