#include "tests/support/virtual_gpu.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "loader/decode/session_need.h"

namespace shardreel::testing {
namespace {

char device_frame_mark = 0;

AVFramePtr brighter(const AVFrame& frame, int by) {
  AVFramePtr changed(av_frame_clone(&frame));
  if (by == 0) return changed;
  if (av_frame_make_writable(changed.get()) < 0) return nullptr;
  for (int y = 0; y < changed->height; ++y) {
    std::uint8_t* row = changed->data[0] + static_cast<std::ptrdiff_t>(y) * changed->linesize[0];
    for (int x = 0; x < changed->width; ++x)
      row[x] = static_cast<std::uint8_t>(std::clamp(row[x] + by, 0, 255));
  }
  return changed;
}

class VirtualGpuDecoder final : public VideoDecoder {
 public:
  VirtualGpuDecoder(std::shared_ptr<Device> device, std::shared_ptr<Stream> stream,
                    DecodeScript script, int luma_error)
      : device_(std::move(device)),
        stream_(std::move(stream)),
        script_(std::move(script)),
        luma_error_(luma_error),
        cpu_(make_cpu_decoder()) {}

  Result<DecodeReport> decode(Unit& unit, FrameSink& sink, const std::stop_token& stop) override {
    Upload upload{*this, sink, script_(*unit.parameters)};
    if (upload.end && upload.end->behind_frames == 0) return upload.end->error;
    const std::string parameters = session_need(*unit.parameters)->parameters;
    const bool makes = !session_ || session_of_ != parameters;
    if (makes) {
      session_.reset();
      auto memory = device_->allocate(kVirtualSessionBytes, stream_);
      if (!memory) return memory.error();
      session_.emplace(std::move(*memory));
      session_of_ = parameters;
    }
    auto report = cpu_->decode(unit, upload, stop);
    if (report && report->errors > 0) return *report->first_error;
    // It had fewer frames than the script wanted to let pass.
    if (report && upload.end) return upload.end->error;
    if (report) report->sessions_made = makes ? 1 : 0;
    return report;
  }
  [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override { return 0; }
  void trim() noexcept override {
    session_.reset();
    cpu_->trim();
  }

 private:
  struct Upload final : FrameSink {
    Upload(VirtualGpuDecoder& of, FrameSink& to, std::optional<ScriptedEnd> how)
        : decoder(of), sink(to), end(std::move(how)) {}
    Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) override {
      if (corrupt)
        return Error{.code = ErrorCode::kDecodeError, .message = "a virtual GPU saw damage"};
      if (end && given++ == end->behind_frames) return end->error;
      auto there =
          frame_on_device(*decoder.device_, decoder.stream_, *brighter(frame, decoder.luma_error_));
      if (!there) return there.error();
      return sink.frame(**there, wanted, corrupt);
    }
    VirtualGpuDecoder& decoder;
    FrameSink& sink;
    std::optional<ScriptedEnd> end;
    std::uint64_t given = 0;
  };

  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Stream> stream_;
  const DecodeScript script_;
  const int luma_error_;
  const std::unique_ptr<VideoDecoder> cpu_;
  std::optional<DeviceBuffer> session_;
  std::string session_of_;
};

/// A plane there, and what it is copied from.
struct KeptPlane {
  std::shared_ptr<Stream> stream;
  std::unique_ptr<PinnedBuffer> pinned;
  DeviceBuffer there;
};
void let_go(void* kept, std::uint8_t* /*data*/) {
  const std::unique_ptr<KeptPlane> plane(static_cast<KeptPlane*>(kept));
  static_cast<void>(plane->stream->synchronize());
}

}  // namespace

Result<AVFramePtr> frame_on_device(Device& device, const std::shared_ptr<Stream>& stream,
                                   const AVFrame& frame) {
  AVFramePtr there(av_frame_clone(&frame));
  for (int p = 0; p < AV_NUM_DATA_POINTERS && frame.buf[p] != nullptr; ++p) {
    const AVBufferRef& buffer = *frame.buf[p];
    auto pinned = device.allocate_pinned(buffer.size);
    if (!pinned) return pinned.error();
    std::memcpy((*pinned)->data(), buffer.data, buffer.size);
    auto block = device.allocate(buffer.size, stream);
    if (!block) return block.error();
    if (auto done = stream->copy(block->data(), (*pinned)->data(), buffer.size); !done)
      return done.error();  // nothing is in line that reads what goes now
    auto* kept = new KeptPlane{stream, std::move(*pinned), std::move(*block)};
    auto* data = static_cast<std::uint8_t*>(kept->there.data());
    for (int d = 0; d < AV_NUM_DATA_POINTERS; ++d) {
      if (frame.data[d] >= buffer.data && frame.data[d] < buffer.data + buffer.size)
        there->data[d] = data + (frame.data[d] - buffer.data);
    }
    av_buffer_unref(&there->buf[p]);
    there->buf[p] = av_buffer_create(data, buffer.size, &let_go, kept, 0);
  }
  there->opaque = &device_frame_mark;
  return there;
}

std::unique_ptr<VideoDecoder> make_virtual_gpu_decoder(std::shared_ptr<Device> device,
                                                       std::shared_ptr<Stream> stream,
                                                       DecodeScript script, int luma_error) {
  return std::make_unique<VirtualGpuDecoder>(std::move(device), std::move(stream),
                                             std::move(script), luma_error);
}

std::optional<PixelLayout> virtual_gpu_layout(const AVFrame& frame) {
  if (frame.opaque != &device_frame_mark) return std::nullopt;
  return pixel_layout(frame.format).value();
}

}  // namespace shardreel::testing
