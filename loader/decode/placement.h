#pragma once
// Who decodes a unit: a device's decoder where it takes the video and has room, else the CPU.

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string_view>

#include "loader/base/mutex.h"
#include "loader/decode/session_need.h"
#include "loader/decode/video_decoder.h"
#include "loader/device/device.h"
#include "loader/device/governor/governor.h"
#include "loader/device/governor/refusal_memory.h"
#include "loader/device/governor/session_costs.h"
#include "loader/device/governor/session_limit.h"
#include "loader/device/governor/session_split.h"

namespace shardreel {

/// Which way a unit's frames came, and why.
enum class DecodePath {
  kCpu,  ///< no device has a decoder for the codec
  kDevice,
  kCpuRefusedKind,  ///< the device's decoder does not take this kind of video
  kCpuNoMemory,     ///< no room on the device: reserve, budget, or an allocation that failed
  kCpuNoSession,    ///< as many sessions as help were at work, or the kind was being tried
  kCpuAfterError,   ///< the device's decoder reported an error: only the CPU's is believed
  kCpuUnproven,     ///< this showed whether the device gives the CPU's pictures, or it does not
};
inline constexpr std::size_t kDecodePaths = 7;
/// The word that metrics count under, e.g. "cpu_no_memory".
[[nodiscard]] std::string_view to_string(DecodePath path) noexcept;

class Placement;

/// A device's decoder with what it keeps from unit to unit. Used by one thread at a time, by any.
struct SessionDecoder {
  std::unique_ptr<VideoDecoder> decoder;  ///< gives its session's memory back in `trim`
  std::shared_ptr<Stream> stream;         ///< in whose order its frames are written
};

/// One decoder session that was let in: a new one, or one that another unit left. Say when its
/// memory is taken and how it ended; dying unsaid tells nothing of the kind, and ends the session.
/// Move-only.
class DeviceSession {
 public:
  DeviceSession(DeviceSession&& other) noexcept;
  DeviceSession& operator=(DeviceSession&&) = delete;
  ~DeviceSession();

  /// The first of its kind, which shows whether others follow.
  [[nodiscard]] bool is_first() const { return tries_; }
  [[nodiscard]] const std::string& kind() const { return need_.kind; }

  /// Where it lives; none yet in a new one.
  [[nodiscard]] SessionDecoder& decoder() { return decoder_; }

  /// The first frame came, so long after the unit was begun.
  void allocated(double seconds);
  /// The unit was decoded; `made`: sessions that this took.
  void worked(std::uint64_t made);
  void refused_kind();
  /// It worked, and showed something else than the CPU does.
  void differs();
  void out_of_memory();
  /// Free what lies idle on the device and what this one took, for another try; false when nothing
  /// was idle.
  bool make_room();
  /// Leave it to another unit, unless its memory is wanted elsewhere. Nothing else after this.
  void keep();

 private:
  friend class Placement;
  DeviceSession(Placement& placement, SessionNeed need, GpuLease lease, bool tries,
                std::uint64_t release);
  void end() noexcept;
  Placement* placement_;
  SessionNeed need_;
  GpuLease lease_;
  SessionDecoder decoder_;
  bool tries_;  // the first of its kind: it says whether others follow
  bool is_new_ = true;
  std::uint64_t free_before_ = 0;
  std::uint64_t release_ = 0;  // of the placement, when it was let in
};

/// A session, or the way the unit goes without one.
struct Admission {
  std::optional<DeviceSession> session;
  DecodePath otherwise = DecodePath::kCpu;
};

struct PlacementOptions {
  SessionLimitOptions sessions;
  std::chrono::milliseconds reading_every{100};  ///< of the device's free memory, when asked
  SessionSplitOptions split;                     ///< between the device and the CPU's cores
};

/// One for each device, for all decode threads. Decides nothing about order. Sessions that a unit
/// left wait here for the next one, of any thread; their leases stay with them, and they go when
/// the governor asks for idle memory, when another kind needs their place, oldest first. Outlives
/// the sessions. Thread-safe.
class Placement {
 public:
  Placement(std::shared_ptr<Device> device, std::shared_ptr<Governor> governor,
            const PlacementOptions& options);
  Placement(const Placement&) = delete;
  Placement& operator=(const Placement&) = delete;

  /// Never waits: while the first video of a kind is tried, and while there is no room or session,
  /// the answer is another way.
  Admission admit(const StreamParameters& parameters);

  /// A unit is done, whoever decoded it.
  void decoded(const UnitDone& unit);

  /// Read the device's free memory, where that is due, and give back what it asks for: also while
  /// nobody is let in.
  void look();

  [[nodiscard]] std::uint64_t refused_kinds() const { return refusals_.refused_kinds(); }

  struct Gauges {
    std::uint64_t made = 0, used_again = 0;  ///< sessions; units that took none
    std::uint64_t given_back = 0;            ///< idle sessions whose memory was wanted
    std::uint64_t at_work = 0, idle = 0;     ///< now
    std::uint64_t idle_bytes = 0;            ///< their leases
    std::uint64_t most_at_work = 0;          ///< as many as are worth having; 0 = no bound
    /// What a megapixel takes a thread, and a new session until its first frame.
    std::optional<double> device_seconds, cpu_seconds, start_seconds;
  };
  [[nodiscard]] Gauges gauges() const;

 private:
  friend class DeviceSession;
  /// A place for one more, as the number of the last release; `replaced`: the idle session whose
  /// place it is, to be ended.
  std::optional<std::uint64_t> take_place(std::optional<DeviceSession>& replaced)
      SHARDREEL_EXCLUDES(mutex_);
  std::optional<DeviceSession> take_idle(const SessionNeed& need) SHARDREEL_EXCLUDES(mutex_);
  std::uint64_t give_back(std::uint64_t bytes) SHARDREEL_EXCLUDES(mutex_);
  /// Whether one more at work, new or not, is worth it.
  [[nodiscard]] bool worth_one_more() const SHARDREEL_REQUIRES(mutex_) {
    return active_ - idle_.size() < split_.allowed();
  }
  bool park(DeviceSession& session) SHARDREEL_EXCLUDES(mutex_);
  /// What would be free without our buffers: clips and batches come and go while a session's
  /// memory, which the driver takes, is measured.
  [[nodiscard]] std::uint64_t free_beside_buffers() const;

  const std::shared_ptr<Device> device_;
  const std::shared_ptr<Governor> governor_;
  const PlacementOptions options_;
  RefusalMemory refusals_;
  SessionCosts costs_;
  mutable Mutex mutex_;
  SessionLimit limit_ SHARDREEL_GUARDED_BY(mutex_);
  SessionSplit split_ SHARDREEL_GUARDED_BY(mutex_);
  std::uint32_t active_ SHARDREEL_GUARDED_BY(mutex_) = 0;    // at work and idle
  std::uint64_t releases_ SHARDREEL_GUARDED_BY(mutex_) = 0;  // how often everything had to go
  Gauges counts_ SHARDREEL_GUARDED_BY(mutex_);
  bool turned_away_ SHARDREEL_GUARDED_BY(mutex_) = false;  // since the limit last changed
  std::optional<GovernorTime> read_ SHARDREEL_GUARDED_BY(mutex_);
  std::list<DeviceSession> idle_ SHARDREEL_GUARDED_BY(mutex_);  // the one left first in front
  IdleMemory::Holder holder_;
};

}  // namespace shardreel
