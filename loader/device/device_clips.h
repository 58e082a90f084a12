#pragma once
// Clips whose pixels stay in a device's memory until they are in a batch, as long as there is room;
// and their way down to the host.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "loader/device/device.h"
#include "loader/device/governor/governor.h"
#include "loader/memory/block_pool.h"

namespace shardreel {

/// The pixels of one clip: on the device while there is room, later perhaps in host memory, never
/// the other way. Dies anywhere, before the reservation of its host memory; its room on the device
/// is used again once the work that reads it was done. Move-only.
class DeviceClip {
 public:
  DeviceClip(DeviceClip&& other) noexcept;
  DeviceClip& operator=(DeviceClip&& other) noexcept;
  ~DeviceClip();

  /// Where its maker writes, until `made`.
  [[nodiscard]] std::byte* data() noexcept;
  /// All work that writes it was done: from now on it may be brought down at any time.
  void made();

  /// Put work that reads the pixels into the line of `reader`. False: they are in host memory by
  /// now, and nothing was put there.
  Result<bool> read_on(Stream& reader, const std::function<Result<void>(const void*)>& work);
  /// Bring the pixels down, unless they are, and give their block, whole pages; waits for the copy.
  /// Nothing is left here. An error of the device: they are gone.
  Result<Block> take_down();

 private:
  friend class DeviceClips;
  struct State;
  explicit DeviceClip(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;  // shared with whoever brings it down
};

/// A device's room for clips, for all threads of its lane: at most `most_bytes`, each clip with a
/// lease of the governor, in blocks that are used again. Room in host memory must be set aside for
/// every clip: what the device cannot hold any longer goes there. Outlives its clips. Thread-safe.
class DeviceClips {
 public:
  /// `host` gives the blocks that clips are brought down to. kOutOfMemory.
  static Result<std::unique_ptr<DeviceClips>> make(std::shared_ptr<Device> device,
                                                   std::shared_ptr<Governor> governor,
                                                   std::uint64_t clip_bytes,
                                                   std::uint64_t most_bytes, BlockPool& host);
  DeviceClips(const DeviceClips&) = delete;
  DeviceClips& operator=(const DeviceClips&) = delete;
  ~DeviceClips();

  /// A clip to be written; nothing when there is no room. Nobody's idle memory is given back for
  /// it. Never waits for readers.
  std::optional<DeviceClip> take();

  // For `IdleMemory`: free at least `bytes`, or all there is, and return how many came. kAll: what
  // is in use goes as soon as it is not.
  std::uint64_t free_idle(std::uint64_t bytes);   ///< blocks that lie idle
  std::uint64_t bring_down(std::uint64_t bytes);  ///< and those of clips; waits for copies

  struct Gauges {
    std::uint64_t held_bytes = 0;    ///< of the device, idle blocks too
    std::uint64_t clips = 0;         ///< made, and not in a batch yet
    std::uint64_t brought_down = 0;  ///< clips, so far
  };
  [[nodiscard]] Gauges gauges() const;

 private:
  friend class DeviceClip;
  struct Shared;
  explicit DeviceClips(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  const std::shared_ptr<Shared> shared_;
};

}  // namespace shardreel
