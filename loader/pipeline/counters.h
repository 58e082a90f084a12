#pragma once
// What is counted while the pipeline runs: relaxed atomics beside the code that counts.

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/base/trace_range.h"
#include "loader/decode/placement.h"
#include "shardreel/error.h"
#include "shardreel/metrics.h"

namespace shardreel {

inline constexpr std::size_t kErrorCodes = static_cast<std::size_t>(ErrorCode::kInternal) + 1;

/// Why a clip that was cut is not delivered, besides an error of its own.
enum class DropReason { kDropLast, kUnequal, kStopped };
inline constexpr std::size_t kDropReasons = 3;

using Count = std::atomic<std::uint64_t>;

/// Seconds spent somewhere, added up in nanoseconds.
class Stopwatch {
 public:
  /// `stage` is what it is called on a time line.
  explicit Stopwatch(const char* stage) : stage_(stage) {}
  void add(std::chrono::steady_clock::duration spent) {
    nanoseconds_ += static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count());
  }
  [[nodiscard]] double seconds() const {
    return static_cast<double>(nanoseconds_.load(std::memory_order_relaxed)) * 1e-9;
  }
  [[nodiscard]] const char* stage() const { return stage_; }

 private:
  const char* const stage_;
  Count nanoseconds_{0};
};

/// Adds the time of a scope to a stopwatch, and shows it on time lines.
class Timed {
 public:
  explicit Timed(Stopwatch& watch)
      : range_(watch.stage()), watch_(watch), begin_(std::chrono::steady_clock::now()) {}
  Timed(const Timed&) = delete;
  Timed& operator=(const Timed&) = delete;
  ~Timed() { watch_.add(std::chrono::steady_clock::now() - begin_); }

 private:
  const TraceRange range_;
  Stopwatch& watch_;
  std::chrono::steady_clock::time_point begin_;
};

/// One for all lanes. Everything but the list of failures is an atomic.
struct Counters {
  Count clips{0}, batches{0}, frames{0}, frames_decoded{0};
  Count samples_complete{0}, samples_partial{0}, samples_skipped{0}, samples_filtered{0};
  Count clips_cut{0}, clips_repeated{0}, clips_padded{0}, clips_from_device{0};
  Count shards_failed{0}, bytes_read{0};
  Count shuffle_clips{0}, peak_shuffle_clips{0};
  std::array<Count, kErrorCodes> skipped{};  // samples, by ErrorCode
  std::array<Count, kErrorCodes> lost{};     // clips, by ErrorCode
  std::array<Count, kDropReasons> dropped{};
  std::array<Count, kDecodePaths> decoded_by{};  // clips, by DecodePath, where there is a choice
  Stopwatch consumer_wait{"consumer wait"}, read_wait{"read wait"}, demux{"demux"};
  Stopwatch decode{"decode"}, decode_idle{"decode idle"}, batch_wait{"batch wait"};

  void drop(DropReason reason, std::uint64_t clips_dropped) {
    dropped[static_cast<std::size_t>(reason)] += clips_dropped;
  }
  void enter_shuffle(std::uint64_t clips_entered);
  void leave_shuffle(std::uint64_t clips_left) { shuffle_clips -= clips_left; }
  void lose(ErrorCode code) { ++lost[static_cast<std::size_t>(code)]; }
  void skip(ErrorCode code) {
    ++samples_skipped;
    ++skipped[static_cast<std::size_t>(code)];
  }
  void note(const Error& failure);

  /// Fill in what is counted here.
  void write_to(Metrics& metrics) const;

 private:
  mutable Mutex mutex_;
  std::vector<Error> first_failures_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
