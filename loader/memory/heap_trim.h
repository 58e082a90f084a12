#pragma once
// Pages of the C heap in which nothing lies any more, back to the system.

#include <chrono>
#include <cstdint>

namespace shardreel {

/// Decoders of all sizes come and go in several threads, each with a heap of its own that keeps the
/// most that it ever had, and grows where what lies in it has the wrong sizes: two decode threads
/// over mixed videos came to 90 MiB, two thirds of them free. Does nothing without glibc.
void trim_heap();

/// When it is worth it. Trimming takes time with the number of holes in the whole process's heap,
/// which may be somebody else's, and whoever allocates meanwhile waits: at most a thousandth of the
/// time goes there, and less where nothing comes of it.
class TrimPacer {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kLeast{10};
  static constexpr std::chrono::seconds kMost{320};
  /// Less than this is nothing.
  static constexpr std::uint64_t kWorthIt = 1 << 20;

  explicit TrimPacer(Clock::time_point now) : next_(now + kLeast) {}

  [[nodiscard]] bool due(Clock::time_point now) const { return now >= next_; }
  /// A trim that ended `now` took `took` and gave back `released` bytes.
  void done(Clock::time_point now, Clock::duration took, std::uint64_t released);

 private:
  Clock::duration pause_ = kLeast;
  Clock::time_point next_;
};

}  // namespace shardreel
