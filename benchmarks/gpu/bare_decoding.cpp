#include "benchmarks/gpu/bare_decoding.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_cuda.h>
}
#include <algorithm>
#include <atomic>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/demux/video_file.h"
#include "loader/device/cuda/primary_context.h"
#include "loader/media/av_handles.h"
#include "shardreel/options.h"
#include "shardreel/shard_reader.h"

namespace shardreel::gpu_bench {
namespace {

constexpr std::int64_t kFrames = 16;

struct BufferDeleter {
  void operator()(AVBufferRef* buffer) const noexcept { av_buffer_unref(&buffer); }
};
using BufferPtr = std::unique_ptr<AVBufferRef, BufferDeleter>;

struct Video {
  std::shared_ptr<const StreamParameters> parameters;
  std::vector<AVPacketPtr> packets;
};

AVPixelFormat on_the_gpu(AVCodecContext*, const AVPixelFormat* offered) {
  while (*offered != AV_PIX_FMT_NONE && *offered != AV_PIX_FMT_CUDA) ++offered;
  return *offered;
}

/// One decoder, that goes on from video to video as long as their parameters are the same.
class Session {
 public:
  explicit Session(AVBufferRef* device) : device_(device), frame_(av_frame_alloc()) {}

  void decode(const Video& video) {
    const AVCodecParameters& next = *video.parameters->codec;
    if (codec_ == nullptr || !same(next)) open(next);
    for (const AVPacketPtr& packet : video.packets) {
      if (avcodec_send_packet(codec_.get(), packet.get()) < 0)
        throw std::runtime_error("the GPU's decoder refuses a packet");
      drain();
    }
  }
  void finish() {
    if (codec_ == nullptr) return;
    avcodec_send_packet(codec_.get(), nullptr);
    drain();
    codec_.reset();
  }
  [[nodiscard]] std::uint64_t frames() const { return frames_; }

 private:
  [[nodiscard]] bool same(const AVCodecParameters& next) const {
    const auto* now = codec_.get();
    return now->codec_id == next.codec_id && now->width == next.width &&
           now->height == next.height && now->extradata_size == next.extradata_size &&
           std::equal(now->extradata, now->extradata + now->extradata_size, next.extradata);
  }
  void open(const AVCodecParameters& parameters) {
    finish();
    codec_.reset(avcodec_alloc_context3(avcodec_find_decoder(parameters.codec_id)));
    if (codec_ == nullptr || avcodec_parameters_to_context(codec_.get(), &parameters) < 0)
      throw std::runtime_error("no decoder");
    codec_->hw_device_ctx = av_buffer_ref(device_);
    codec_->get_format = &on_the_gpu;
    codec_->thread_count = 1;
    if (avcodec_open2(codec_.get(), nullptr, nullptr) < 0)
      throw std::runtime_error("the GPU's decoder does not open");
  }
  void drain() {
    while (avcodec_receive_frame(codec_.get(), frame_.get()) == 0) {
      if (frame_->format != AV_PIX_FMT_CUDA) throw std::runtime_error("FFmpeg decodes in software");
      ++frames_;
      av_frame_unref(frame_.get());
    }
  }

  AVBufferRef* const device_;
  const AVFramePtr frame_;
  AVCodecContextPtr codec_;
  std::uint64_t frames_ = 0;
};

/// All packets of a video, in decoding order: one unit holds them.
Video read_video(const Field& field, std::int64_t& frames) {
  auto file = VideoFile::open(field.content, {.field = field.name, .selective = false}).value();
  frames = file.facts().frame_count;
  Window all{};
  all.frames.resize(static_cast<std::size_t>(frames));
  for (std::int64_t i = 0; i < frames; ++i) all.frames[static_cast<std::size_t>(i)] = i;
  std::vector<Window> windows;
  windows.push_back(std::move(all));
  file.plan_units(std::move(windows));
  Video video;
  while (auto unit = file.next_unit(false).value()) {
    video.parameters = unit->parameters;
    for (;;) {
      AVPacketPtr packet(av_packet_alloc());
      if (!unit->packets->next(*packet).value()) break;
      if (av_packet_make_refcounted(packet.get()) < 0) throw std::bad_alloc();
      video.packets.push_back(std::move(packet));
    }
  }
  return video;
}

}  // namespace

struct BareDecoding::Videos {
  std::vector<Video> all;
  std::unique_ptr<cuda::PrimaryContext> context;
  BufferPtr device;
};

BareDecoding::BareDecoding(const std::string& shard) : videos_(std::make_unique<Videos>()) {
  ShardReader reader(open_file(shard).value(), shard, ShardReaderOptions{});
  const std::vector<std::string> names = InputOptions().video_fields;
  for (;;) {
    auto step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) break;
    if (auto* failed = std::get_if<FailedSample>(&step)) throw ShardreelError(failed->error);
    const Sample& sample = std::get<Sample>(step);
    for (const std::string& name : names) {
      const Field* field = sample.find(name);
      if (field == nullptr) continue;
      std::int64_t frames = 0;
      videos_->all.push_back(read_video(*field, frames));
      clips_ += static_cast<std::uint64_t>(frames / kFrames);
      frames_ += static_cast<std::uint64_t>(frames);
      break;
    }
  }
  videos_->context = cuda::PrimaryContext::retain(0).value();
  videos_->device.reset(av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_CUDA));
  if (!videos_->device) throw std::bad_alloc();
  auto* base = reinterpret_cast<AVHWDeviceContext*>(videos_->device->data);
  static_cast<AVCUDADeviceContext*>(base->hwctx)->cuda_ctx =
      static_cast<CUcontext>(videos_->context->handle());
  if (av_hwdevice_ctx_init(videos_->device.get()) < 0)
    throw std::runtime_error("FFmpeg cannot use the GPU");
}

BareDecoding::~BareDecoding() = default;

void BareDecoding::decode(std::uint32_t sessions, std::uint32_t times) const {
  std::atomic<std::size_t> next{0};
  std::atomic<std::uint64_t> frames{0};
  Mutex mutex;
  std::exception_ptr failed;
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t i = 0; i < sessions; ++i) {
      threads.emplace_back([&] {
        try {
          Session session(videos_->device.get());
          for (std::size_t at = next++; at < videos_->all.size() * times; at = next++)
            session.decode(videos_->all[at % videos_->all.size()]);
          session.finish();
          frames += session.frames();
        } catch (...) {
          const MutexLock lock(mutex);
          failed = std::current_exception();
        }
      });
    }
  }
  if (failed) std::rethrow_exception(failed);
  if (frames != frames_ * times) {
    throw std::runtime_error("bare decoding gave " + std::to_string(frames) + " frames of " +
                             std::to_string(frames_ * times));
  }
}

}  // namespace shardreel::gpu_bench
