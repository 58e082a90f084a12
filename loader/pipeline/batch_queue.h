#pragma once
// Between a lane and its consumer: the lane's batch buffers, the finished batches, the end of
// things.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <variant>

#include "loader/memory/memory_budget.h"
#include "loader/pipeline/batch_buffers.h"
#include "loader/pipeline/lane_state.h"
#include "shardreel/batch.h"

namespace shardreel {

/// What a consumer finds: a batch, the end of an epoch, the end of the run, or why it cannot go on.
struct EpochOver {
  std::uint64_t epoch = 0;
};
struct RunOver {};
using BatchItem = std::variant<Batch, EpochOver, RunOver, Error>;

/// Holds the lane's buffers; a batch in the consumer's hands takes one with it and gives it back
/// when it dies, also after the queue is gone. When the consumer keeps so many that the lane has
/// none left, taking grants one more, counted under `held`. Thread-safe.
class BatchQueue {
 public:
  /// `on_held` is called once, when the first batch beyond the plan is granted.
  BatchQueue(MemoryLedger& ledger, std::unique_ptr<BatchBuffers> buffers,
             std::function<void()> on_held);
  BatchQueue(const BatchQueue&) = delete;
  BatchQueue& operator=(const BatchQueue&) = delete;
  ~BatchQueue();

  // --- the lane. `generation` is that of the pass; an old one is refused.
  /// Wait for memory for a batch; null when stopped or when the generation is over. An error is the
  /// device's.
  Result<std::unique_ptr<BatchBuffer>> acquire(std::uint64_t generation,
                                               const std::stop_token& stop);
  /// `mark` says what became of the lane with this batch.
  bool push(BatchItem item, std::uint64_t generation, std::unique_ptr<BatchMark> mark = nullptr);

  /// Wait until all that was pushed is taken; false when stopped or when the generation is over.
  bool wait_until_taken(std::uint64_t generation, const std::stop_token& stop);

  // --- the consumer
  /// Wait for an item, until `deadline` at the latest; whether `take` would not wait.
  bool wait_until(std::chrono::steady_clock::time_point deadline, const std::stop_token& stop);
  /// Wait for the next item; nothing when stopped. RunOver and Error stay for the next call. `mark`
  /// gets what travelled with it.
  std::optional<BatchItem> take(const std::stop_token& stop,
                                std::unique_ptr<BatchMark>* mark = nullptr);

  /// Void what is queued and refuse what comes from older generations; returns the clips voided.
  std::uint64_t restart(std::uint64_t generation);

  [[nodiscard]] std::uint64_t generation() const;
  [[nodiscard]] std::size_t ready() const;  ///< batches queued
  [[nodiscard]] bool lane_waits() const;    ///< the lane has no buffer: the consumer is slower

 private:
  struct State;
  class Count;
  class CountedBuffer;
  class CountedStorage;
  bool await_item(std::optional<std::chrono::steady_clock::time_point> deadline,
                  const std::stop_token& stop);

  const std::shared_ptr<State> state_;  // shared with the batches in the consumer's hands
  const std::function<void()> on_held_;
};

}  // namespace shardreel
