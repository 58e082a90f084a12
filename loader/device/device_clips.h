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
/// the other way. Dies anywhere; its memory is used again once the work that reads it was done.
/// Move-only.
class DeviceClip {
 public:
  DeviceClip(DeviceClip&&) noexcept = default;
  DeviceClip& operator=(DeviceClip&&) noexcept = default;
  ~DeviceClip();

  /// Where its maker writes, until `made`.
  [[nodiscard]] std::byte* data() noexcept;
  /// All work that writes it was done: from now on it may be brought down at any time.
  void made();

  /// Put work that reads the pixels into the line of `reader`, which outlives the clips' memory.
  /// False: they are in host memory by now, and nothing was put there.
  Result<bool> read_on(const std::shared_ptr<Stream>& reader,
                       const std::function<Result<void>(const void*)>& work);
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

  /// A clip to be written; nothing when there is no room, or none is to be taken now. Gives back
  /// what the governor asks for. Never waits for readers.
  std::optional<DeviceClip> take();

  /// Give back memory: idle blocks, then the room of clips, which are brought down, until `bytes`
  /// came back. Returns how many did. Waits for copies.
  std::uint64_t release(std::uint64_t bytes);

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
