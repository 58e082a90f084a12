#include "loader/device/pinned_pool.h"

#include <deque>

#include "loader/base/mutex.h"

namespace shardreel {

struct PinnedBlock::Slot {
  std::unique_ptr<PinnedBuffer> memory;
  std::unique_ptr<Event> copied;
};

struct PinnedPool::State {
  std::vector<std::unique_ptr<PinnedBlock::Slot>> slots;
  Mutex mutex;
  Condition returned;
  // The one given back first is taken first: its copy began first.
  std::deque<PinnedBlock::Slot*> free SHARDREEL_GUARDED_BY(mutex);
};

PinnedBlock::PinnedBlock(PinnedBlock&& other) noexcept
    : pool_(other.pool_), slot_(std::exchange(other.slot_, nullptr)) {}
PinnedBlock& PinnedBlock::operator=(PinnedBlock&& other) noexcept {
  PinnedBlock taken(std::move(other));  // by way of a third, for an assignment to itself
  std::swap(pool_, taken.pool_);
  std::swap(slot_, taken.slot_);
  return *this;
}
PinnedBlock::~PinnedBlock() {
  if (slot_ != nullptr) pool_->give_back(slot_);
}
std::byte* PinnedBlock::data() const noexcept { return slot_->memory->data(); }
std::uint64_t PinnedBlock::bytes() const noexcept { return slot_->memory->bytes(); }
Event& PinnedBlock::copied() const noexcept { return *slot_->copied; }

PinnedPool::PinnedPool(std::uint64_t bytes) : bytes_(bytes), state_(std::make_unique<State>()) {}

Result<std::unique_ptr<PinnedPool>> PinnedPool::make(Device& device, std::uint64_t bytes,
                                                     std::size_t count) {
  std::unique_ptr<PinnedPool> pool(new PinnedPool(bytes));
  State& state = *pool->state_;
  for (std::size_t i = 0; i < count; ++i) {
    auto memory = device.allocate_pinned(bytes);
    if (!memory) return memory.error();
    auto event = device.make_event();
    if (!event) return event.error();
    auto slot = std::make_unique<PinnedBlock::Slot>();
    slot->memory = std::move(*memory);
    slot->copied = std::move(*event);
    const MutexLock lock(state.mutex);
    state.free.push_back(slot.get());
    state.slots.push_back(std::move(slot));
  }
  return pool;
}

PinnedPool::~PinnedPool() {
  // A copy that failed reads nothing any more.
  for (const auto& slot : state_->slots) static_cast<void>(slot->copied->wait());
}

Result<PinnedBlock> PinnedPool::take(const std::stop_token& stop) {
  PinnedBlock::Slot* slot = nullptr;
  {
    const MutexLock lock(state_->mutex);
    while (state_->free.empty() || stop.stop_requested()) {
      if (!state_->returned.wait(state_->mutex, stop)) {
        Error stopped;
        stopped.code = ErrorCode::kStopped;
        stopped.message = "stopped while waiting for a pinned buffer";
        return stopped;
      }
    }
    slot = state_->free.front();
    state_->free.pop_front();
  }
  PinnedBlock block(this, slot);
  if (auto copied = slot->copied->wait(); !copied) return copied.error();
  return block;
}

void PinnedPool::give_back(PinnedBlock::Slot* slot) noexcept {
  {
    const MutexLock lock(state_->mutex);
    state_->free.push_back(slot);
  }
  state_->returned.notify_all();
}

}  // namespace shardreel
