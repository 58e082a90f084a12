#pragma once
// A lane is a rank: its own share of samples, its own shuffle, its own order.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>

#include "loader/base/mutex.h"
#include "loader/memory/memory_budget.h"
#include "loader/pipeline/batch_queue.h"
#include "loader/pipeline/batcher.h"
#include "loader/pipeline/counters.h"
#include "loader/pipeline/lane_state.h"
#include "loader/pipeline/memory_plan.h"
#include "loader/pipeline/unit_line.h"
#include "loader/pipeline/video_feed.h"
#include "loader/read/read_service.h"
#include "shardreel/options.h"

namespace shardreel {

/// What lanes share, borrowed from the loader.
struct LaneContext {
  const LoaderOptions& options;
  const MemoryPlan& plan;
  ReadService& reading;
  MemoryLedger& ledger;
  BlockPool& packet_pages;  ///< of the packet tiers
  Counters& counters;
  Signal& work;                                ///< raised when a unit may be ready to decode
  std::function<void(std::string_view)> warn;  ///< one line for the log
};

/// Two threads: one feeds the line (demux), one empties it (shuffle, batches). Decode threads in
/// between are shared by all lanes. `next` is for one consumer at a time; the rest is thread-safe.
class Lane {
 public:
  Lane(LaneContext context, std::string device, std::unique_ptr<BatchBuffers> buffers,
       std::uint64_t rank, std::uint64_t world);
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane() { stop(); }

  /// Begin; with a state, behind the last batch that it says was handed out.
  void start(const LaneState* from = nullptr);
  /// Ask everything to stop and join the lane's threads. No decode thread may be inside the line
  /// afterwards: `interrupt` first, join those, then stop.
  void interrupt() noexcept;
  void stop() noexcept;

  /// See Loader::next.
  std::optional<Batch> next();
  /// See Loader::wait.
  bool wait(std::chrono::milliseconds most);
  void set_epoch(std::uint64_t epoch);
  [[nodiscard]] std::uint64_t epoch() const;
  /// Where the lane stands after the last thing that `next` gave.
  [[nodiscard]] LaneState state() const;

  [[nodiscard]] UnitLine& line() noexcept { return line_; }
  /// Batches delivered or ready: how far the lane got.
  [[nodiscard]] std::uint64_t progress() const { return delivered_ + queue_.ready(); }
  /// What the lane waits for, if the consumer has waited for at least `least`; else empty.
  [[nodiscard]] std::string stalled(std::chrono::seconds least) const;

 private:
  void guarded(const std::function<void()>& body) noexcept;
  void feed(const std::stop_token& stop);
  void run(const std::stop_token& stop);
  void resume(const LaneState& from) SHARDREEL_REQUIRES(mutex_);
  struct Pass {
    std::uint64_t epoch = 0;
    std::stop_token stop;
    std::unique_ptr<const LaneState> from;
  };
  bool await_pass(Pass& pass, const std::stop_token& stop);
  std::uint64_t abandon_pass(std::uint64_t generation);
  void repeat_pass(std::uint64_t epoch, std::uint64_t generation);
  void epoch_over(std::uint64_t epoch, std::uint64_t generation);

  const LaneContext context_;
  const std::uint64_t rank_;
  const std::uint64_t world_;
  MemoryShare decode_;
  UnitLine line_;
  BatchQueue queue_;
  VideoFeed feed_;
  Batcher batcher_;
  std::stop_source stop_;  // of the whole lane
  std::atomic<std::uint64_t> delivered_{0};

  mutable Mutex mutex_;
  Condition changed_;
  std::uint64_t generation_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  std::stop_source pass_stop_ SHARDREEL_GUARDED_BY(mutex_);
  DropReason pass_end_ SHARDREEL_GUARDED_BY(mutex_) = DropReason::kStopped;
  std::uint64_t first_epoch_ SHARDREEL_GUARDED_BY(mutex_);  // of the current generation
  std::uint64_t next_feed_ SHARDREEL_GUARDED_BY(mutex_);    // epoch of the next pass
  std::uint64_t feeds_left_ SHARDREEL_GUARDED_BY(mutex_);   // passes that may begin
  std::uint64_t epochs_left_ SHARDREEL_GUARDED_BY(mutex_);  // to be produced
  std::uint64_t to_take_ SHARDREEL_GUARDED_BY(mutex_);      // whose end the consumer has not seen
  std::uint64_t taking_ SHARDREEL_GUARDED_BY(mutex_);       // epoch that `next` delivers from
  LaneState state_ SHARDREEL_GUARDED_BY(mutex_);            // of what the consumer has
  std::unique_ptr<const LaneState> from_ SHARDREEL_GUARDED_BY(mutex_);  // for the first pass
  std::optional<std::chrono::steady_clock::time_point> waiting_since_ SHARDREEL_GUARDED_BY(mutex_);

  std::jthread feeder_;
  std::jthread runner_;
};

}  // namespace shardreel
