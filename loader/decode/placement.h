#pragma once
// Who decodes a unit: a device's decoder where it takes the video and has room, else the CPU.

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "loader/base/mutex.h"
#include "loader/demux/unit.h"
#include "loader/device/device.h"
#include "loader/device/governor/governor.h"
#include "loader/device/governor/refusal_memory.h"
#include "loader/device/governor/session_costs.h"
#include "loader/device/governor/session_limit.h"

namespace shardreel {

/// Which way a unit's frames came, and why.
enum class DecodePath {
  kCpu,  ///< no device has a decoder for the codec
  kDevice,
  kCpuRefusedKind,  ///< the device's decoder does not take this kind of video
  kCpuNoMemory,     ///< no room on the device: reserve, budget, or an allocation that failed
  kCpuNoSession,    ///< as many sessions as help were at work, or the kind was being tried
  kCpuAfterError,   ///< the device's decoder reported an error: only the CPU's is believed
};
inline constexpr std::size_t kDecodePaths = 6;
/// The word that metrics count under, e.g. "cpu_no_memory".
[[nodiscard]] std::string_view to_string(DecodePath path) noexcept;

/// What a session needs to know of a video.
struct SessionNeed {
  std::string kind;         ///< what decides whether it is taken: codec, profile, format, size
  std::uint64_t bytes = 0;  ///< of device memory, by the formula of docs/gpu.md
};
/// Nothing for codecs that no decoder of a device takes.
[[nodiscard]] std::optional<SessionNeed> session_need(const StreamParameters& parameters);

class Placement;

/// One decoder session that was let in. Say when its memory is taken and about to be freed, and how
/// it ended; dying unsaid tells nothing of the kind. Move-only.
class DeviceSession {
 public:
  DeviceSession(DeviceSession&& other) noexcept;
  DeviceSession& operator=(DeviceSession&&) = delete;
  ~DeviceSession();

  void allocated();
  void freeing();
  void worked();
  void refused_kind();
  void out_of_memory();

 private:
  friend class Placement;
  DeviceSession(Placement& placement, SessionNeed need, GpuLease lease, bool tries);
  Placement* placement_;
  SessionNeed need_;
  GpuLease lease_;
  bool tries_;  // the first of its kind: it says whether others follow
  std::uint64_t free_before_ = 0;
};

/// A session, or the way the unit goes without one.
struct Admission {
  std::optional<DeviceSession> session;
  DecodePath otherwise = DecodePath::kCpu;
};

struct PlacementOptions {
  SessionLimitOptions sessions;
  std::chrono::milliseconds reading_every{100};  ///< of the device's free memory, when asked
};

/// One for each device, for all decode threads. Decides nothing about order. Outlives its sessions.
/// Thread-safe.
class Placement {
 public:
  Placement(std::shared_ptr<Device> device, std::shared_ptr<Governor> governor,
            const PlacementOptions& options);

  /// Never waits: while the first video of a kind is tried, and while there is no room or session,
  /// the answer is another way.
  Admission admit(const StreamParameters& parameters);

  [[nodiscard]] std::uint64_t refused_kinds() const { return refusals_.refused_kinds(); }

 private:
  friend class DeviceSession;
  bool take_session() SHARDREEL_EXCLUDES(mutex_);
  void take_reading() SHARDREEL_EXCLUDES(mutex_);
  [[nodiscard]] std::uint64_t free_bytes() const;

  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Governor> governor_;
  const PlacementOptions options_;
  RefusalMemory refusals_;
  SessionCosts costs_;
  mutable Mutex mutex_;
  SessionLimit limit_ SHARDREEL_GUARDED_BY(mutex_);
  std::uint32_t active_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  bool turned_away_ SHARDREEL_GUARDED_BY(mutex_) = false;  // since the limit last changed
  std::optional<GovernorTime> read_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
