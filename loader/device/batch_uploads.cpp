#include "loader/device/batch_uploads.h"

#include <fmt/format.h>

#include <deque>
#include <utility>
#include <vector>

#include "loader/base/mutex.h"

namespace shardreel {

struct DeviceBatch::Slot {
  DeviceBuffer memory;
  std::unique_ptr<Event> ready, used;
};

struct DeviceBatch::State {
  std::vector<std::unique_ptr<Slot>> slots;
  Mutex mutex;
  Condition returned;
  // The one that came back first goes first: its user is most likely done.
  std::deque<Slot*> free SHARDREEL_GUARDED_BY(mutex);
};

DeviceBatch::DeviceBatch(std::shared_ptr<State> state, Slot* slot, std::uint64_t bytes)
    : state_(std::move(state)), slot_(slot), bytes_(bytes) {}
DeviceBatch::DeviceBatch(DeviceBatch&& other) noexcept { swap(other); }
DeviceBatch& DeviceBatch::operator=(DeviceBatch&& other) noexcept {
  DeviceBatch taken(std::move(other));
  swap(taken);
  return *this;
}
DeviceBatch::~DeviceBatch() {
  if (slot_ == nullptr) return;
  {
    const MutexLock lock(state_->mutex);
    state_->free.push_back(slot_);
  }
  state_->returned.notify_all();
}
void DeviceBatch::swap(DeviceBatch& other) noexcept {
  std::swap(state_, other.state_);
  std::swap(slot_, other.slot_);
  std::swap(bytes_, other.bytes_);
}

void* DeviceBatch::data() const noexcept { return slot_->memory.data(); }
const Event& DeviceBatch::ready() const noexcept { return *slot_->ready; }
Result<void> DeviceBatch::used_by(Stream& stream) { return slot_->used->record(stream); }

BatchUploads::BatchUploads(std::shared_ptr<Device> device, std::shared_ptr<Stream> stream,
                           std::unique_ptr<PinnedPool> pool,
                           std::shared_ptr<DeviceBatch::State> state)
    : device_(std::move(device)),
      stream_(std::move(stream)),
      state_(std::move(state)),
      pool_(std::move(pool)) {}

Result<std::unique_ptr<BatchUploads>> BatchUploads::make(std::shared_ptr<Device> device,
                                                         std::uint64_t batch_bytes,
                                                         std::size_t batches) {
  auto stream = device->make_stream();
  if (!stream) return stream.error();
  auto pool = PinnedPool::make(*device, batch_bytes, kStagingBlocks);
  if (!pool) return pool.error();
  auto state = std::make_shared<DeviceBatch::State>();
  for (std::size_t i = 0; i < batches; ++i) {
    auto memory = device->allocate(batch_bytes, *stream);
    if (!memory) return memory.error();
    auto ready = device->make_event(), used = device->make_event();
    if (!ready) return ready.error();
    if (!used) return used.error();
    auto slot = std::make_unique<DeviceBatch::Slot>();
    slot->memory = std::move(*memory);
    slot->ready = std::move(*ready);
    slot->used = std::move(*used);
    const MutexLock lock(state->mutex);
    state->free.push_back(slot.get());
    state->slots.push_back(std::move(slot));
  }
  return std::unique_ptr<BatchUploads>(
      new BatchUploads(std::move(device), std::move(*stream), std::move(*pool), std::move(state)));
}

Result<PinnedBlock> BatchUploads::staging(const std::stop_token& stop) { return pool_->take(stop); }

Result<DeviceBatch> BatchUploads::upload(PinnedBlock block, std::uint64_t bytes,
                                         const std::stop_token& stop) {
  DeviceBatch::Slot* slot = nullptr;
  {
    const MutexLock lock(state_->mutex);
    while (state_->free.empty() || stop.stop_requested()) {
      if (!state_->returned.wait(state_->mutex, stop)) {
        Error stopped;
        stopped.code = ErrorCode::kStopped;
        stopped.message =
            "stopped while waiting for a batch buffer of " + device_->id().to_string();
        return stopped;
      }
    }
    slot = state_->free.front();
    state_->free.pop_front();
  }
  DeviceBatch batch(state_, slot, bytes);  // gives the slot back, should a step fail
  // The device waits for the last user, not this thread.
  if (auto done = stream_->wait(*slot->used); !done) return done.error();
  if (auto done = stream_->copy(slot->memory.data(), block.data(), bytes); !done)
    return done.error();
  if (auto done = block.copied().record(*stream_); !done) return done.error();
  if (auto done = slot->ready->record(*stream_); !done) return done.error();
  return batch;
}

}  // namespace shardreel
