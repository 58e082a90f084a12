#include "loader/device/batch_uploads.h"

#include <deque>
#include <utility>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/base/trace_range.h"

namespace shardreel {

struct DeviceBatch::Slot {
  Slot(std::shared_ptr<Stream> copies, bool beyond_the_plan)
      : stream(std::move(copies)), extra(beyond_the_plan) {}
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  /// The memory is freed in the order of our stream, behind its last user. A device that fails here
  /// reads nothing any more.
  ~Slot() {
    if (used) static_cast<void>(stream->wait(*used));
  }
  const std::shared_ptr<Stream> stream;
  const bool extra;
  DeviceBuffer memory;
  std::unique_ptr<Event> ready, used;
};

struct DeviceBatch::State {
  std::shared_ptr<Stream> stream;
  std::vector<std::unique_ptr<Slot>> slots;
  Mutex mutex;
  // The one that came back first goes first: its user is most likely done.
  std::deque<Slot*> free SHARDREEL_GUARDED_BY(mutex);

  Result<std::unique_ptr<Slot>> make_slot(Device& device, std::uint64_t bytes, bool extra) const {
    auto memory = device.allocate(bytes, stream);
    if (!memory) return memory.error();
    auto ready = device.make_event(), used = device.make_event();
    if (!ready) return ready.error();
    if (!used) return used.error();
    auto slot = std::make_unique<Slot>(stream, extra);
    slot->memory = std::move(*memory);
    slot->ready = std::move(*ready);
    slot->used = std::move(*used);
    return slot;
  }
};

DeviceBatch::DeviceBatch(std::shared_ptr<State> state, Slot* slot)
    : state_(std::move(state)), slot_(slot) {}
DeviceBatch::DeviceBatch(DeviceBatch&& other) noexcept { swap(other); }
DeviceBatch& DeviceBatch::operator=(DeviceBatch&& other) noexcept {
  DeviceBatch taken(std::move(other));
  swap(taken);
  return *this;
}
DeviceBatch::~DeviceBatch() {
  if (slot_ == nullptr) return;
  if (slot_->extra) {
    const std::unique_ptr<Slot> gone(slot_);
    return;
  }
  const MutexLock lock(state_->mutex);
  state_->free.push_back(slot_);
}
void DeviceBatch::swap(DeviceBatch& other) noexcept {
  std::swap(state_, other.state_);
  std::swap(slot_, other.slot_);
}

void* DeviceBatch::data() const noexcept { return slot_->memory.data(); }
const Event& DeviceBatch::ready() const noexcept { return *slot_->ready; }
Result<void> DeviceBatch::used_by(Stream& stream) { return slot_->used->record(stream); }

BatchUploads::BatchUploads(std::shared_ptr<Device> device, std::unique_ptr<PinnedPool> pool,
                           std::shared_ptr<DeviceBatch::State> state)
    : device_(std::move(device)), state_(std::move(state)), pool_(std::move(pool)) {}

Result<std::unique_ptr<BatchUploads>> BatchUploads::make(std::shared_ptr<Device> device,
                                                         std::uint64_t batch_bytes,
                                                         std::size_t batches) {
  auto stream = device->make_stream();
  if (!stream) return stream.error();
  auto pool = PinnedPool::make(*device, batch_bytes, kStagingBlocks);
  if (!pool) return pool.error();
  auto state = std::make_shared<DeviceBatch::State>();
  state->stream = std::move(*stream);
  for (std::size_t i = 0; i < batches; ++i) {
    auto slot = state->make_slot(*device, batch_bytes, false);
    if (!slot) return slot.error();
    const MutexLock lock(state->mutex);
    state->free.push_back(slot->get());
    state->slots.push_back(std::move(*slot));
  }
  return std::unique_ptr<BatchUploads>(
      new BatchUploads(std::move(device), std::move(*pool), std::move(state)));
}

std::optional<DeviceBatch> BatchUploads::take() {
  const MutexLock lock(state_->mutex);
  if (state_->free.empty()) return std::nullopt;
  DeviceBatch batch(state_, state_->free.front());
  state_->free.pop_front();
  return batch;
}

Result<DeviceBatch> BatchUploads::take_extra() {
  auto slot = state_->make_slot(*device_, pool_->block_bytes(), true);
  if (!slot) return slot.error();
  return DeviceBatch(state_, slot->release());
}

bool BatchUploads::all_in_use() const {
  const MutexLock lock(state_->mutex);
  return state_->free.empty();
}

Result<PinnedBlock> BatchUploads::staging(const std::stop_token& stop) { return pool_->take(stop); }

Result<void> BatchUploads::upload(PinnedBlock block, std::uint64_t bytes, DeviceBatch& to) {
  if (auto done = begin(to); !done) return done;
  const Part whole{0, bytes};
  if (auto done = upload(std::move(block), {&whole, 1}, to); !done) return done;
  return finish(to);
}

Result<void> BatchUploads::begin(DeviceBatch& to) { return state_->stream->wait(*to.slot_->used); }

Result<void> BatchUploads::upload(PinnedBlock block, std::span<const Part> parts, DeviceBatch& to) {
  const TraceRange range("upload");
  auto* memory = static_cast<std::byte*>(to.slot_->memory.data());
  for (const Part& part : parts) {
    auto done = state_->stream->copy(memory + part.at, block.data() + part.at, part.bytes);
    if (!done) return done;
  }
  return block.copied().record(*state_->stream);
}

Result<void> BatchUploads::finish(DeviceBatch& to) {
  return to.slot_->ready->record(*state_->stream);
}

const std::shared_ptr<Stream>& BatchUploads::stream() const noexcept { return state_->stream; }

}  // namespace shardreel
