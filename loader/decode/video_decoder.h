#pragma once
// Decode units: the seam between FFmpeg on the CPU, a GPU later, and fakes in tests.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>

#include "loader/demux/unit.h"
#include "shardreel/error.h"

struct AVFrame;

namespace shardreel {

/// Gets the wanted frames of a unit, in display order.
class FrameSink {
 public:
  virtual ~FrameSink() = default;
  /// A wanted frame left the decoder. `frame` is borrowed for the call. `corrupt`: the decoder
  /// flagged it, or an error was reported between the last clean keyframe and it. An error ends the
  /// unit and is returned by `decode`.
  virtual Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) = 0;
  /// A picture was not decoded, for this reason: its frame, and what depends on it, does not come.
  virtual void refused(const Error& /*why*/) {}
};

/// What decoding a unit gave.
struct DecodeReport {
  std::uint64_t frames_decoded = 0;  ///< that left the decoder, wanted or not
  std::uint64_t frames_wanted = 0;   ///< that were given to the sink
  std::uint64_t packets = 0;         ///< that were given to the decoder
  std::uint64_t errors = 0;          ///< packets the decoder refused or concealed
  std::optional<Error> first_error;  ///< the decoder's own words
  bool contexts_reused = false;
  std::uint64_t sessions_made = 0;  ///< of a device
};

class VideoDecoder {
 public:
  virtual ~VideoDecoder() = default;

  /// Decode a unit to its end. Frames that do not come out are simply not given to the sink;
  /// decoding goes on behind an error in the stream, as far as the stream allows, and behind
  /// pictures larger than the unit's plan, for which no memory is taken. Returns an error when the
  /// decoder cannot be opened (kUnsupported), memory ran out (kMemory), the sink refused, or
  /// kStopped.
  virtual Result<DecodeReport> decode(Unit& unit, FrameSink& sink, const std::stop_token& stop) = 0;

  /// Bytes of decoder frames held at most so far in the last unit, for checking the estimate.
  [[nodiscard]] virtual std::uint64_t peak_frame_bytes() const noexcept = 0;

  /// Give back everything that is kept for the next unit (contexts, frame memory).
  virtual void trim() noexcept = 0;
};

/// FFmpeg on the CPU, one thread. Recycles the decoder's context while units have the same
/// parameters' codec and no error was reported; frames come from an own pool of slabs. One per
/// decode thread; not thread-safe.
std::unique_ptr<VideoDecoder> make_cpu_decoder();

}  // namespace shardreel
