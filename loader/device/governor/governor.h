#pragma once
// Who may take memory of a GPU that a trainer and other processes use, too, and when.

#include <cstdint>
#include <optional>

#include "loader/base/mutex.h"
#include "loader/device/governor/free_window.h"
#include "loader/device/governor/idle_memory.h"

namespace shardreel {

struct GovernorOptions {
  std::uint64_t reserve_bytes = std::uint64_t{1} << 30;  ///< stays free for others
  std::uint64_t budget_bytes = 0;                        ///< most that we hold
  GovernorTime window = std::chrono::seconds(30);        ///< at least one step of a training
  GovernorTime dwell = std::chrono::seconds(2);          ///< least time between two modes
  GovernorTime cool_down = std::chrono::seconds(1);      ///< after a refusal; doubles with the next
  GovernorTime longest_cool_down = std::chrono::seconds(60);
};

class Governor;

/// Bytes that were granted. Order of things: reserve; allocate; `allocated`; use; `freeing`; free;
/// let it die. So a reading at any moment counts no byte as free that is not. Move-only.
class GpuLease {
 public:
  GpuLease(GpuLease&& other) noexcept;
  GpuLease& operator=(GpuLease&& other) noexcept;
  ~GpuLease();

  /// The memory is there and took `bytes`, as measured; the lease is that large from now on.
  void allocated(std::uint64_t bytes);
  /// The memory is about to be freed.
  void freeing();
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  friend class Governor;
  GpuLease(Governor* governor, std::uint64_t bytes) : governor_(governor), bytes_(bytes) {}
  void swap(GpuLease& other) noexcept;
  Governor* governor_ = nullptr;
  std::uint64_t bytes_ = 0;
  bool allocated_ = false;
};

/// One for each device. Driven by readings of the free memory and by its callers' clock; has none
/// of its own, allocates nothing on the device, waits for nothing but idle memory that is being
/// freed. Outlives its leases. Thread-safe.
///
/// What others leave to us is, at a reading, what is free plus what we hold; the least of that over
/// the window, less everything granted, is the room. A grant leaves at least the reserve of it.
/// Granting stops altogether once the room is below the reserve, and begins again when it was above
/// 5/4 of it for the dwell and no cool-down runs: so the paths do not alternate from clip to clip.
class Governor {
 public:
  explicit Governor(const GovernorOptions& options);

  /// What the driver says is free now, for everybody.
  void reading(GovernorTime now, std::uint64_t free_bytes);

  /// Grant `bytes`, or nothing: then go another way, do not ask in a loop. Where only room is
  /// missing, what lies idle is given back first, unless it is worth more than what is asked for.
  enum class WhatIsIdle { kMakesRoom, kStays };
  std::optional<GpuLease> try_reserve(GovernorTime now, std::uint64_t bytes,
                                      WhatIsIdle idle = WhatIsIdle::kMakesRoom);

  /// An allocation that was granted did not succeed: somebody else was faster. Starts a cool-down,
  /// each twice as long as the one before until one allocation succeeds.
  void out_of_memory(GovernorTime now);

  /// How much of what lies idle should be given back: until the room is the reserve again, once it
  /// is below half of it.
  [[nodiscard]] std::uint64_t bytes_to_shed(GovernorTime now) const;
  /// Give that back, as far as it is there; return how many bytes came.
  std::uint64_t shed(GovernorTime now);

  /// Somebody else comes first: give back all that is idle, and grant nothing for the dwell, then
  /// as after any closing. Return how many bytes came.
  std::uint64_t step_back(GovernorTime now);

  /// Where those enrol whose leases lie idle at times.
  [[nodiscard]] IdleMemory& idle() { return idle_; }

  struct Gauges {
    std::uint64_t least_free = 0;  ///< what others leave to us, over the window
    std::uint64_t granted = 0;
    bool open = false;
    std::uint64_t mode_switches = 0, refusals = 0, out_of_memory = 0;
  };
  [[nodiscard]] Gauges gauges(GovernorTime now) const;

 private:
  friend class GpuLease;
  void change(std::uint64_t granted_less, std::uint64_t granted_more, std::uint64_t held_less,
              std::uint64_t held_more) noexcept SHARDREEL_EXCLUDES(mutex_);
  void end_cool_down() SHARDREEL_EXCLUDES(mutex_);
  [[nodiscard]] std::uint64_t room(GovernorTime now) const SHARDREEL_REQUIRES(mutex_);
  /// Bytes that are missing for a grant; nothing where no bytes would help.
  [[nodiscard]] std::optional<std::uint64_t> missing(GovernorTime now, std::uint64_t bytes) const
      SHARDREEL_REQUIRES(mutex_);
  void decide_mode(GovernorTime now) SHARDREEL_REQUIRES(mutex_);

  const GovernorOptions options_;
  IdleMemory idle_;  // asked without the mutex: those that give back end leases
  mutable Mutex mutex_;
  FreeWindow left_to_us_ SHARDREEL_GUARDED_BY(mutex_);
  std::uint64_t granted_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  std::uint64_t held_ SHARDREEL_GUARDED_BY(mutex_) = 0;  // of it, what readings surely have seen
  bool open_ SHARDREEL_GUARDED_BY(mutex_) = true;
  std::optional<GovernorTime> switched_ SHARDREEL_GUARDED_BY(mutex_);
  std::optional<GovernorTime> roomy_since_ SHARDREEL_GUARDED_BY(mutex_);
  std::optional<GovernorTime> cool_until_ SHARDREEL_GUARDED_BY(mutex_);
  GovernorTime next_cool_down_ SHARDREEL_GUARDED_BY(mutex_);
  Gauges counts_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
