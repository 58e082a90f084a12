#include "loader/decode/ffmpeg_decoder.h"
#include "loader/decode/frame_pool.h"
#include "loader/media/av_error.h"

namespace shardreel {
namespace {

class CpuSetup final : public CodecSetup {
 public:
  [[nodiscard]] const AVCodec* find(const AVCodecParameters& parameters) const override {
    return avcodec_find_decoder(parameters.codec_id);
  }
  Result<void> prepare(AVCodecContext& context) override {
    pool_.serve(context);
    return {};
  }
  Result<void> accept(AVFrame& /*frame*/) override { return {}; }
  std::optional<Error> own_failure() override { return std::nullopt; }
  [[nodiscard]] bool goes_on_after_errors() const override { return true; }
  void begin_unit() noexcept override { pool_.reset_peak(); }
  void end_unit() noexcept override { pool_.trim(pool_.peak_bytes()); }
  void trim() noexcept override { pool_.trim(0); }
  [[nodiscard]] std::uint64_t peak_frame_bytes() const noexcept override {
    return pool_.peak_bytes();
  }

 private:
  FramePool pool_;
};

}  // namespace

std::unique_ptr<VideoDecoder> make_cpu_decoder() {
  return make_ffmpeg_decoder(std::make_unique<CpuSetup>());
}

}  // namespace shardreel
