#pragma once
// How many of the decode threads should have a session of the device, so that those without one
// decode on the CPU beside it: whatever gave more pictures a second, all in all.

#include <array>
#include <cstdint>
#include <optional>

#include "loader/device/governor/free_window.h"

namespace shardreel {

struct SessionSplitOptions {
  /// To begin with: every thread that may have one. 0 = no bound and no trials.
  std::uint32_t most = 0;
  GovernorTime period = std::chrono::seconds(2);  ///< that a rate is measured over, at least
  std::uint64_t units = 16;                       ///< and over at least so many
  double gain = 1.05;                             ///< less is not worth a change
  GovernorTime rest = std::chrono::seconds(4);    ///< between trials; doubles when one was lost
  GovernorTime longest_rest = std::chrono::seconds(240);
};

/// A unit that was decoded.
struct UnitDone {
  bool on_device = false;
  double megapixels = 0;
  double seconds = 0;  ///< that a thread spent on it
};

/// Measures the rate of everything that is decoded, by device and CPU together, with one number of
/// sessions, with another one, and with the first again; the other one stays only if it beat both.
/// So what counts is what it counts for: sessions that share a saturated device, threads that share
/// the cores, and units of the CPU that hold the line up, because units are used in their order. A
/// consumer that sets the pace makes all the same, and nothing changes.
///
/// What units cost each way says beforehand how much another number could gain at the very most;
/// one that could not gain enough is not tried. Driven by its caller's clock. Not thread-safe.
class SessionSplit {
 public:
  explicit SessionSplit(const SessionSplitOptions& options);

  [[nodiscard]] std::uint32_t allowed() const { return allowed_; }
  void decoded(GovernorTime now, const UnitDone& unit);

  /// What a megapixel takes a thread; nothing before the first one.
  [[nodiscard]] std::optional<double> device_seconds() const { return cost_[1]; }
  [[nodiscard]] std::optional<double> cpu_seconds() const { return cost_[0]; }
  [[nodiscard]] std::uint64_t trials() const { return trials_; }

 private:
  enum class Phase { kRest, kBefore, kOther, kAfter };
  void begin(GovernorTime now, Phase phase, std::uint32_t allowed);
  void next_phase(GovernorTime now, double rate);
  void rest(GovernorTime now, bool won);
  [[nodiscard]] std::uint32_t other() const;
  [[nodiscard]] bool could_gain() const;
  [[nodiscard]] GovernorTime slow_unit() const;

  const SessionSplitOptions options_;
  std::uint32_t allowed_, kept_;  // now, and outside of trials
  Phase phase_ = Phase::kRest;
  std::optional<GovernorTime> began_;  // the phase
  bool counting_ = false;              // units that began before it are through
  GovernorTime counted_from_{}, before_took_{}, rest_;
  double megapixels_ = 0, before_ = 0, of_other_ = 0;
  std::uint64_t units_ = 0, trials_ = 0;
  std::uint32_t attempt_ = 0;                  // which other number is tried
  std::array<std::optional<double>, 2> cost_;  // seconds a megapixel: CPU, device
  std::array<double, 2> spent_{};              // seconds a unit
};

}  // namespace shardreel
