#pragma once
// Decoding units with libavcodec, wherever its decoders run.

#include <cstdint>
#include <memory>
#include <optional>

#include "loader/decode/video_decoder.h"
#include "shardreel/error.h"

struct AVCodec;
struct AVCodecContext;
struct AVCodecParameters;

namespace shardreel {

/// What differs between decoders on the CPU and on a device. Outlives the contexts it prepared.
/// Used by one thread.
class CodecSetup {
 public:
  virtual ~CodecSetup() = default;
  /// The decoder for these parameters; null when there is none.
  [[nodiscard]] virtual const AVCodec* find(const AVCodecParameters& parameters) const = 0;
  /// Before the context is opened.
  virtual Result<void> prepare(AVCodecContext& context) = 0;
  /// A frame that the context gave, before anybody sees it.
  virtual Result<void> accept(AVFrame& frame) = 0;
  /// Why the decoder does not work, when that is not the video's fault; asked after an error.
  virtual std::optional<Error> own_failure() = 0;
  /// Whether errors in the stream are to be believed and decoded over; else the first one ends the
  /// unit (kDecodeError), and another decoder is asked.
  [[nodiscard]] virtual bool goes_on_after_errors() const = 0;
  /// Whether FFmpeg's flush of an H.264 decoder throws away what is dear to make. Then it is
  /// emptied and used on without one, where that gives the same frames.
  [[nodiscard]] virtual bool avoids_flushes() const { return false; }
  /// Sessions of a device that were made since the unit began.
  [[nodiscard]] virtual std::uint64_t sessions_made() const { return 0; }
  /// A unit begins, or everything that is kept is to go.
  virtual void begin_unit() noexcept = 0;
  virtual void end_unit() noexcept = 0;
  virtual void trim() noexcept = 0;
  [[nodiscard]] virtual std::uint64_t peak_frame_bytes() const noexcept = 0;
};

/// One thread of decoding. Recycles the context while units have the same parameters' codec and no
/// error was reported. Not thread-safe.
std::unique_ptr<VideoDecoder> make_ffmpeg_decoder(std::unique_ptr<CodecSetup> setup);

}  // namespace shardreel
