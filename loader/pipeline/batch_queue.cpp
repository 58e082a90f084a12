#include "loader/pipeline/batch_queue.h"

#include <deque>
#include <utility>

#include "loader/base/mutex.h"

namespace shardreel {

struct BatchQueue::State {
  State(MemoryLedger& of, std::unique_ptr<BatchBuffers> made)
      : ledger(&of), buffers(std::move(made)) {}

  Mutex mutex;
  Condition changed;
  // Null once the queue is gone: batches that live on are nobody's budget any more.
  MemoryLedger* ledger SHARDREEL_GUARDED_BY(mutex);
  const std::unique_ptr<BatchBuffers> buffers;
  struct Entry {
    BatchItem item;
    std::unique_ptr<BatchMark> mark;
  };
  std::deque<Entry> items SHARDREEL_GUARDED_BY(mutex);
  std::uint64_t generation SHARDREEL_GUARDED_BY(mutex) = 0;
  bool lane_waits SHARDREEL_GUARDED_BY(mutex) = false;
  bool extra SHARDREEL_GUARDED_BY(mutex) = false;  // one batch beyond the plan may be made
  bool warned SHARDREEL_GUARDED_BY(mutex) = false;
};

/// That a buffer is in use: in the ledger, and for a lane that waits for one.
class BatchQueue::Count {
 public:
  Count(std::shared_ptr<State> state, MemoryTag tag) : state_(std::move(state)), tag_(tag) {
    const MutexLock lock(state_->mutex);
    if (state_->ledger != nullptr) state_->ledger->add(tag_, state_->buffers->bytes_in_use());
  }
  Count(Count&&) noexcept = default;
  Count& operator=(Count&&) = delete;
  ~Count() {
    if (!state_) return;
    {
      const MutexLock lock(state_->mutex);
      if (state_->ledger != nullptr) state_->ledger->remove(tag_, state_->buffers->bytes_in_use());
    }
    state_->changed.notify_all();
  }

 private:
  std::shared_ptr<State> state_;  // shared: keeps the buffers alive for a batch of an ended queue
  MemoryTag tag_;
};

class BatchQueue::CountedStorage final : public Batch::Storage {
 public:
  CountedStorage(Count count, std::unique_ptr<Batch::Storage> storage)
      : count_(std::move(count)), storage_(std::move(storage)) {}
  std::byte* data() noexcept override { return storage_->data(); }
  Result<void> use_on(void* stream) override { return storage_->use_on(stream); }
  Result<void> copy_to_host(std::span<std::byte> to) override { return storage_->copy_to_host(to); }

 private:
  const Count count_;  // goes last: the memory is back by then
  const std::unique_ptr<Batch::Storage> storage_;
};

class BatchQueue::CountedBuffer final : public BatchBuffer {
 public:
  CountedBuffer(Count count, std::unique_ptr<BatchBuffer> buffer)
      : count_(std::move(count)), buffer_(std::move(buffer)) {}
  Result<std::byte*> part(std::uint64_t at, std::uint64_t bytes) override {
    return buffer_->part(at, bytes);
  }
  Result<bool> take_there(DeviceClip& clip, std::uint64_t at) override {
    return buffer_->take_there(clip, at);
  }
  Result<std::unique_ptr<Batch::Storage>> finish(std::uint64_t bytes) override {
    auto storage = buffer_->finish(bytes);
    if (!storage) return storage;
    return std::unique_ptr<Batch::Storage>(
        std::make_unique<CountedStorage>(std::move(count_), std::move(*storage)));
  }

 private:
  Count count_;
  const std::unique_ptr<BatchBuffer> buffer_;
};

BatchQueue::BatchQueue(MemoryLedger& ledger, std::unique_ptr<BatchBuffers> buffers,
                       std::function<void()> on_held)
    : state_(std::make_shared<State>(ledger, std::move(buffers))), on_held_(std::move(on_held)) {
  ledger.add(MemoryTag::kBatch, state_->buffers->fixed_bytes());
}

BatchQueue::~BatchQueue() {
  restart(~std::uint64_t{0});
  const MutexLock lock(state_->mutex);
  state_->ledger->remove(MemoryTag::kBatch, state_->buffers->fixed_bytes());
  state_->ledger = nullptr;
}

Result<std::unique_ptr<BatchBuffer>> BatchQueue::acquire(std::uint64_t generation,
                                                         const std::stop_token& stop) {
  const auto counted = [this](Result<std::unique_ptr<BatchBuffer>> buffer,
                              MemoryTag tag) -> Result<std::unique_ptr<BatchBuffer>> {
    if (buffer)
      return std::unique_ptr<BatchBuffer>(
          std::make_unique<CountedBuffer>(Count(state_, tag), std::move(*buffer)));
    if (buffer.error().code == ErrorCode::kStopped) return std::unique_ptr<BatchBuffer>();
    return buffer;
  };
  for (;;) {
    auto buffer = state_->buffers->take(stop);
    if (!buffer || *buffer) return counted(std::move(buffer), MemoryTag::kBatch);
    bool granted = false;
    {
      const MutexLock lock(state_->mutex);
      if (generation != state_->generation) return std::unique_ptr<BatchBuffer>();
      granted = std::exchange(state_->extra, false);
      // A buffer that came back between the attempt and here: look again before waiting.
      if (!granted && state_->buffers->all_in_use()) {
        state_->lane_waits = true;
        state_->changed.notify_all();  // the consumer may have to grant one
        const bool goes_on = state_->changed.wait(state_->mutex, stop);
        state_->lane_waits = false;
        if (!goes_on) return std::unique_ptr<BatchBuffer>();
      }
    }
    if (granted) return counted(state_->buffers->take_extra(stop), MemoryTag::kHeld);
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

bool BatchQueue::wait_until_taken(std::uint64_t generation, const std::stop_token& stop) {
  const MutexLock lock(state_->mutex);
  while (generation == state_->generation && !state_->items.empty()) {
    if (!state_->changed.wait(state_->mutex, stop)) return false;
  }
  return generation == state_->generation;
}

bool BatchQueue::await_item(std::optional<std::chrono::steady_clock::time_point> deadline,
                            const std::stop_token& stop) {
  bool warn = false;
  bool there = true;
  {
    const MutexLock lock(state_->mutex);
    while (state_->items.empty()) {
      // A lane that waits may not have seen yet that a buffer came back: only none at all counts.
      if (state_->lane_waits && !state_->extra && state_->buffers->all_in_use()) {
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
    if (state_->items.empty()) state_->changed.notify_all();
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
