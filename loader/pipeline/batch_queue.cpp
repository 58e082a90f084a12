#include "loader/pipeline/batch_queue.h"

#include <deque>
#include <utility>

#include "loader/base/mutex.h"
#include "loader/memory/block_pool.h"

namespace shardreel {

struct BatchQueue::State {
  State(MemoryLedger& of, std::size_t bytes, std::size_t buffers)
      : ledger(&of), batch_bytes(BlockPool::block_bytes_for(bytes)), pool(bytes, buffers) {}

  Mutex mutex;
  Condition changed;
  // Null once the queue is gone: batches that live on are nobody's budget any more.
  MemoryLedger* ledger SHARDREEL_GUARDED_BY(mutex);
  const std::size_t batch_bytes;
  BlockPool pool;
  struct Entry {
    BatchItem item;
    std::unique_ptr<BatchMark> mark;
  };
  std::deque<Entry> items SHARDREEL_GUARDED_BY(mutex);
  std::uint64_t generation SHARDREEL_GUARDED_BY(mutex) = 0;
  bool lane_waits SHARDREEL_GUARDED_BY(mutex) = false;
  bool extra SHARDREEL_GUARDED_BY(mutex) = false;  // one batch beyond the plan may be made
  bool warned SHARDREEL_GUARDED_BY(mutex) = false;

  void count(MemoryTag tag, bool taken) {
    {
      const MutexLock lock(mutex);
      if (ledger != nullptr) {
        taken ? ledger->add(tag, batch_bytes) : ledger->remove(tag, batch_bytes);
      }
    }
    if (!taken) changed.notify_all();
  }
};

class BatchQueue::PooledBlock final : public Batch::Storage {
 public:
  PooledBlock(std::shared_ptr<State> state, Block block)
      : state_(std::move(state)), block_(std::move(block)) {
    state_->count(MemoryTag::kBatch, true);
  }
  PooledBlock(const PooledBlock&) = delete;
  PooledBlock& operator=(const PooledBlock&) = delete;
  ~PooledBlock() override {
    block_ = Block();
    state_->count(MemoryTag::kBatch, false);
  }
  std::byte* data() noexcept override { return block_.bytes().data(); }

 private:
  std::shared_ptr<State>
      state_;  // shared: keeps the pool alive for a batch that outlives the queue
  Block block_;
};

class BatchQueue::HeldBlock final : public Batch::Storage {
 public:
  explicit HeldBlock(std::shared_ptr<State> state)
      : state_(std::move(state)), data_(std::make_unique<std::byte[]>(state_->batch_bytes)) {
    state_->count(MemoryTag::kHeld, true);
  }
  HeldBlock(const HeldBlock&) = delete;
  HeldBlock& operator=(const HeldBlock&) = delete;
  ~HeldBlock() override {
    data_.reset();
    state_->count(MemoryTag::kHeld, false);
  }
  std::byte* data() noexcept override { return data_.get(); }

 private:
  std::shared_ptr<State> state_;  // shared: as above
  std::unique_ptr<std::byte[]> data_;
};

BatchQueue::BatchQueue(MemoryLedger& ledger, std::size_t batch_bytes, std::size_t buffers,
                       std::function<void()> on_held)
    : state_(std::make_shared<State>(ledger, batch_bytes, buffers)), on_held_(std::move(on_held)) {}

BatchQueue::~BatchQueue() {
  std::deque<State::Entry> dropped;
  {
    const MutexLock lock(state_->mutex);
    dropped.swap(state_->items);
  }
  dropped.clear();
  const MutexLock lock(state_->mutex);
  state_->ledger = nullptr;
}

std::unique_ptr<Batch::Storage> BatchQueue::acquire(std::uint64_t generation,
                                                    const std::stop_token& stop) {
  for (;;) {
    if (Block block = state_->pool.take()) {
      return std::make_unique<PooledBlock>(state_, std::move(block));
    }
    bool granted = false;
    {
      const MutexLock lock(state_->mutex);
      if (generation != state_->generation) return nullptr;
      granted = std::exchange(state_->extra, false);
      // A buffer that came back between the attempt and here: look again before waiting.
      if (!granted && state_->pool.in_use() == state_->pool.count()) {
        state_->lane_waits = true;
        state_->changed.notify_all();  // the consumer may have to grant one
        const bool goes_on = state_->changed.wait(state_->mutex, stop);
        state_->lane_waits = false;
        if (!goes_on) return nullptr;
      }
    }
    if (granted) return std::make_unique<HeldBlock>(state_);
  }
}

bool BatchQueue::push(BatchItem item, std::uint64_t generation, std::unique_ptr<BatchMark> mark) {
  {
    const MutexLock lock(state_->mutex);
    if (generation != state_->generation) return false;
    state_->items.push_back({std::move(item), std::move(mark)});
  }
  state_->changed.notify_all();
  return true;
}

bool BatchQueue::await_item(std::optional<std::chrono::steady_clock::time_point> deadline,
                            const std::stop_token& stop) {
  bool warn = false;
  bool there = true;
  {
    const MutexLock lock(state_->mutex);
    while (state_->items.empty()) {
      // A lane that waits may not have seen yet that a buffer came back: only none at all counts.
      if (state_->lane_waits && !state_->extra && state_->pool.in_use() == state_->pool.count()) {
        // All buffers are in the consumer's hands, and it asks for more: waiting would be for ever.
        state_->extra = true;
        warn = !std::exchange(state_->warned, true);
        state_->changed.notify_all();
      }
      there = deadline ? state_->changed.wait_until(state_->mutex, stop, *deadline)
                       : state_->changed.wait(state_->mutex, stop);
      if (!there) break;
      if (deadline && std::chrono::steady_clock::now() >= *deadline) {
        there = !state_->items.empty();
        break;
      }
    }
  }
  if (warn && on_held_) on_held_();
  return there;
}

bool BatchQueue::wait_until(std::chrono::steady_clock::time_point deadline,
                            const std::stop_token& stop) {
  return await_item(deadline, stop) || stop.stop_requested();
}

std::optional<BatchItem> BatchQueue::take(const std::stop_token& stop,
                                          std::unique_ptr<BatchMark>* mark) {
  for (;;) {
    if (!await_item(std::nullopt, stop)) return std::nullopt;
    const MutexLock lock(state_->mutex);
    if (state_->items.empty()) continue;  // voided meanwhile
    auto& front = state_->items.front().item;
    if (std::holds_alternative<RunOver>(front)) return RunOver{};
    if (const auto* error = std::get_if<Error>(&front)) return *error;
    std::optional<BatchItem> taken(std::move(front));
    if (mark != nullptr) *mark = std::move(state_->items.front().mark);
    state_->items.pop_front();
    return taken;
  }
}

std::uint64_t BatchQueue::restart(std::uint64_t generation) {
  std::deque<State::Entry> dropped;
  {
    const MutexLock lock(state_->mutex);
    dropped.swap(state_->items);
    state_->generation = generation;
  }
  state_->changed.notify_all();
  std::uint64_t clips = 0;
  for (const State::Entry& entry : dropped) {
    if (const auto* batch = std::get_if<Batch>(&entry.item)) clips += batch->size();
  }
  return clips;
}

std::uint64_t BatchQueue::generation() const {
  const MutexLock lock(state_->mutex);
  return state_->generation;
}

std::size_t BatchQueue::ready() const {
  const MutexLock lock(state_->mutex);
  return state_->items.size();
}

bool BatchQueue::lane_waits() const {
  const MutexLock lock(state_->mutex);
  return state_->lane_waits;
}

}  // namespace shardreel
