#pragma once
// Put the frames of a unit into its clips: the one copy between decoder and shuffle buffer.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "loader/demux/unit.h"
#include "loader/media/frame_converter.h"
#include "loader/window/clip.h"
#include "shardreel/options.h"

namespace shardreel {

/// The memory of one clip, reserved: a block, or room on a device. Dies before its reservation:
/// bytes are given back after they are free.
struct ClipMemory {
  Reservation reservation;
  Block block;
  std::optional<DeviceClip> on_device;
};

/// What a unit's clips have in common.
struct ClipContext {
  const LoaderOptions* options = nullptr;  ///< borrowed
  ClipId id;                               ///< of the sample; `window` is filled in per clip
  std::shared_ptr<const SampleFields> sample;
};

/// Takes a unit's wanted frames in display order; gives each of its clips exactly once, in order,
/// as soon as it is complete or cannot be completed any more. Holds the clips that are being made.
/// Waits only inside `begin`, and for a device that writes slots. Used by one thread.
class ClipCutter final : public FrameSink {
 public:
  /// Memory for the next clip, whose first frame this is.
  using Begin = std::function<Result<ClipMemory>(const AVFrame& first)>;
  using Emit = std::function<void(std::size_t clip, ClipResult)>;  ///< number in the unit

  ClipCutter(const Unit& unit, const ClipContext& context, FrameConverter& converter, Begin begin,
             Emit emit);
  ~ClipCutter() override;

  Result<void> frame(const AVFrame& frame, const WantedFrame& wanted, bool corrupt) override;
  /// Clips that lack frames from now on lack them for this reason.
  void refused(const Error& why) override { refused_ = why; }

  /// The unit is over: finish what is left by `short_policy`; `cause` says why frames are missing.
  void finish(const std::optional<Error>& cause);

  [[nodiscard]] std::uint64_t frames_written() const noexcept { return frames_written_; }

 private:
  struct Making;
  Result<void> write_slot(const AVFrame& frame, Making& making, std::uint32_t slot);
  void finish_before(std::int64_t frame);
  void close(std::size_t clip, const std::optional<Error>& why);
  void pad(Making& making, ClipInfo& info) const;
  Result<void> bring_down(Making& making);
  [[nodiscard]] std::span<std::byte> slot(Making& making, std::uint32_t index) const;

  const Unit& unit_;
  const ClipContext& context_;
  FrameConverter& converter_;
  Begin begin_;
  Emit emit_;
  const std::uint64_t slot_bytes_;
  const Orientation orientation_;
  std::vector<Making> making_;
  std::size_t next_ = 0;  // clips before it are emitted
  std::optional<Error> refused_;
  std::uint64_t frames_written_ = 0;
  // The slot the current frame was last converted into, to copy from when the geometry is the same.
  std::span<const std::byte> converted_;
  FrameGeometry converted_geometry_;
};

}  // namespace shardreel
