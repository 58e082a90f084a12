#include "tools/pack/audio_reader.h"

#include <algorithm>
#include <utility>

#include "loader/media/av_error.h"
#include "loader/media/av_io.h"

extern "C" {
#include <libavutil/mathematics.h>
}

namespace shardreel::tools {
namespace {

int refuse_to_open(AVFormatContext*, AVIOContext**, const char*, int, AVDictionary**) noexcept {
  return AVERROR(EPERM);
}

class ContainerAudio final : public AudioReader {
 public:
  explicit ContainerAudio(AvIo io) : io_(std::move(io)) {}

  /// False: no audio in there.
  Result<bool> open(const AVInputFormat* container) {
    const AvMessage message;
    AVFormatContext* format = avformat_alloc_context();
    if (format == nullptr) return av_failure(ErrorCode::kMemory, "open audio", AVERROR(ENOMEM));
    format->pb = io_.context();
    format->flags |= AVFMT_FLAG_CUSTOM_IO;
    format->io_open = &refuse_to_open;
    int status = avformat_open_input(&format, "audio", container, nullptr);  // frees it on error
    if (status >= 0) {
      format_.reset(format);
      status = avformat_find_stream_info(format, nullptr);
    }
    if (io_.error()) return *io_.error();
    if (status < 0)
      return message.explain(av_failure(ErrorCode::kDecodeError, "find the audio", status));
    for (unsigned i = 0; i < format->nb_streams; ++i) {
      AVStream* stream = format->streams[i];
      if (stream_ == nullptr && stream->codecpar->codec_type == AVMEDIA_TYPE_AUDIO)
        stream_ = stream;
      else
        stream->discard = AVDISCARD_ALL;
    }
    return stream_ != nullptr;
  }

  [[nodiscard]] const AVStream& stream() const noexcept override { return *stream_; }

  Result<bool> next(AVPacket& packet) override {
    for (;;) {
      const int got = av_read_frame(format_.get(), &packet);
      if (io_.error()) return *io_.error();
      if (got == AVERROR(ENOMEM)) return av_failure(ErrorCode::kMemory, "read audio", got);
      if (got < 0) return false;
      if (packet.stream_index == stream_->index) return true;
      av_packet_unref(&packet);
    }
  }

 private:
  AvIo io_;  // before the format context, which reads from it until it is closed
  AVInputContextPtr format_;
  AVStream* stream_ = nullptr;  // owned by format_
};

}  // namespace

Result<std::unique_ptr<AudioReader>> AudioReader::open(std::shared_ptr<const RandomAccess> source,
                                                       const AVInputFormat* container) {
  auto io = AvIo::make(std::move(source));
  if (!io) return std::move(io.error());
  auto audio = std::make_unique<ContainerAudio>(std::move(*io));
  auto found = audio->open(container);
  if (!found) return std::move(found.error());
  if (!*found) audio.reset();
  return std::unique_ptr<AudioReader>(std::move(audio));
}

Result<void> AudioFeed::write_until(double seconds, std::int64_t shift, AVRational shift_base,
                                    MediaWriter& writer, int number, bool negative_times) {
  if (packet_ == nullptr) packet_.reset(av_packet_alloc());
  if (packet_ == nullptr) return av_failure(ErrorCode::kMemory, "copy audio", AVERROR(ENOMEM));
  const AVRational base = stream().time_base;
  const std::int64_t by = av_rescale_q(shift, shift_base, base);
  while (!ended_) {
    if (!waiting_) {
      auto got = reader_->next(*packet_);
      if (!got) return std::move(got.error());
      ended_ = !*got;
      if (ended_) return {};
      waiting_ = true;
    }
    AVPacket& packet = *packet_;
    if (packet.dts == AV_NOPTS_VALUE) packet.dts = packet.pts;
    if (packet.pts == AV_NOPTS_VALUE) packet.pts = packet.dts;
    if (packet.dts != AV_NOPTS_VALUE) {
      if (static_cast<double>(packet.dts) * av_q2d(base) >= seconds) return {};
      packet.pts += by;
      packet.dts += by;
      if (!negative_times) {
        packet.pts = std::max<std::int64_t>(packet.pts, 0);
        packet.dts = std::max<std::int64_t>(packet.dts, 0);
      }
    }
    waiting_ = false;
    const PacketScope scope(packet);
    if (auto written = writer.write(packet, number); !written) return written;
  }
  return {};
}

}  // namespace shardreel::tools
