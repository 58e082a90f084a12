#include "loader/device/device_clips.h"

#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "loader/base/mutex.h"

namespace shardreel {
namespace {

/// A block of the device. Its lease goes after its memory, and after that has left the device's
/// pool: see `Shared::free`.
struct Room {
  GpuLease lease;
  DeviceBuffer memory;
  std::unique_ptr<Event> used;  ///< behind the last work that reads it
  std::uint64_t release = 0;    ///< how often everything had to go when it was taken
};

}  // namespace

struct DeviceClips::Shared {
  Shared(std::shared_ptr<Device> of, std::shared_ptr<Governor> rules, std::uint64_t clip,
         std::uint64_t most, BlockPool& below)
      : device(std::move(of)),
        governor(std::move(rules)),
        clip_bytes(clip),
        most_bytes(most),
        host(below) {}

  /// A block that nobody writes any more; work may still read it.
  void give_back(Room room) {
    const MutexLock lock(mutex);
    read.push_back(std::move(room));
  }
  /// Move what nobody reads any more to what lies idle, or out of here when it has to go.
  void sweep(std::vector<Room>& leaves) SHARDREEL_REQUIRES(mutex) {
    while (!read.empty()) {
      // What a device that failed still reads is nobody's any more.
      if (const auto happened = read.front().used->happened(); happened && !*happened) return;
      std::vector<Room>& to = read.front().release == releases ? idle : leaves;
      to.push_back(std::move(read.front()));
      read.pop_front();
    }
  }
  /// In the order that GpuLease asks for: what is freed stays with the device's pool until that is
  /// trimmed, and nobody else may be granted it before.
  std::uint64_t free(std::vector<Room> rooms) {
    if (rooms.empty()) return 0;
    for (Room& room : rooms) room.lease.freeing();
    for (Room& room : rooms) room.memory = {};
    if (stream->synchronize()) device->trim();
    const std::uint64_t bytes = rooms.size() * clip_bytes;
    const MutexLock lock(mutex);
    held -= bytes;
    return bytes;
  }

  const std::shared_ptr<Device> device;
  const std::shared_ptr<Governor> governor;
  const std::uint64_t clip_bytes, most_bytes;
  BlockPool& host;
  std::shared_ptr<Stream> stream;  // of the blocks, and of the way down

  Mutex pinned_mutex;  // before `mutex` where both are taken
  std::unique_ptr<PinnedBuffer> pinned SHARDREEL_GUARDED_BY(pinned_mutex);

  mutable Mutex mutex;
  std::uint64_t held SHARDREEL_GUARDED_BY(mutex) = 0;
  std::uint64_t brought_down SHARDREEL_GUARDED_BY(mutex) = 0;
  std::uint64_t releases SHARDREEL_GUARDED_BY(mutex) = 0;
  std::vector<Room> idle SHARDREEL_GUARDED_BY(mutex);
  std::deque<Room> read SHARDREEL_GUARDED_BY(mutex);  // in the order in which they came back
  std::map<const void*, std::weak_ptr<DeviceClip::State>> made SHARDREEL_GUARDED_BY(mutex);
  IdleMemory::Holder holder;  // goes first
};

struct DeviceClip::State {
  State(std::shared_ptr<DeviceClips::Shared> pool, Room block)
      : shared(std::move(pool)), room(std::move(block)) {}

  /// Its owner is gone, and with it the reservation of its host memory.
  void end() {
    const MutexLock lock(mutex);
    host = {};
    if (room) shared->give_back(std::move(*room));
    room.reset();
  }

  Result<void> bring_down() {
    const MutexLock lock(mutex);
    if (!room) return {};
    Block block = shared->host.take();
    if (!block) {
      return Error{.code = ErrorCode::kInternal,
                   .message = "a clip's memory was reserved but is not there"};
    }
    {
      // Nobody writes it any more: this copy needs to wait for nothing.
      const MutexLock one(shared->pinned_mutex);
      auto done =
          shared->stream->copy(shared->pinned->data(), room->memory.data(), shared->clip_bytes);
      if (done) done = shared->stream->synchronize();
      if (!done) return done;
      std::memcpy(block.bytes().data(), shared->pinned->data(), shared->clip_bytes);
    }
    host = std::move(block);
    shared->give_back(std::move(*room));
    room.reset();
    const MutexLock of_all(shared->mutex);
    ++shared->brought_down;
    return {};
  }

  const std::shared_ptr<DeviceClips::Shared> shared;
  Mutex mutex;               // before those of `shared`
  std::optional<Room> room;  // none once it was brought down
  Block host;
};

DeviceClip::DeviceClip(DeviceClip&& other) noexcept : state_(std::move(other.state_)) {}
DeviceClip& DeviceClip::operator=(DeviceClip&& other) noexcept {
  DeviceClip taken(std::move(other));
  state_.swap(taken.state_);
  return *this;
}
DeviceClip::~DeviceClip() {
  if (!state_) return;
  state_->end();
  const MutexLock lock(state_->shared->mutex);
  state_->shared->made.erase(state_.get());
}

std::byte* DeviceClip::data() noexcept {
  return static_cast<std::byte*>(state_->room->memory.data());
}

void DeviceClip::made() {
  const MutexLock lock(state_->shared->mutex);
  state_->shared->made.emplace(state_.get(), state_);
}

Result<bool> DeviceClip::read_on(Stream& reader,
                                 const std::function<Result<void>(const void*)>& work) {
  const MutexLock lock(state_->mutex);
  if (!state_->room) return false;
  if (auto done = work(state_->room->memory.data()); !done) return done.error();
  if (auto done = state_->room->used->record(reader); !done) return done.error();
  return true;
}

Result<Block> DeviceClip::take_down() {
  if (auto down = state_->bring_down(); !down) return down.error();
  const MutexLock lock(state_->mutex);
  return std::move(state_->host);
}

Result<std::unique_ptr<DeviceClips>> DeviceClips::make(std::shared_ptr<Device> device,
                                                       std::shared_ptr<Governor> governor,
                                                       std::uint64_t clip_bytes,
                                                       std::uint64_t most_bytes, BlockPool& host) {
  auto stream = device->make_stream();
  if (!stream) return stream.error();
  auto pinned = device->allocate_pinned(clip_bytes);
  if (!pinned) return pinned.error();
  auto shared = std::make_shared<Shared>(std::move(device), std::move(governor), clip_bytes,
                                         most_bytes, host);
  shared->stream = std::move(*stream);
  {
    const MutexLock lock(shared->pinned_mutex);
    shared->pinned = std::move(*pinned);
  }
  std::unique_ptr<DeviceClips> clips(new DeviceClips(shared));
  shared->holder = shared->governor->idle().add(
      [of = clips.get()](std::uint64_t bytes) { return of->free_idle(bytes); });
  return clips;
}

DeviceClips::~DeviceClips() {
  shared_->holder = {};
  {
    const MutexLock lock(shared_->mutex);
    for (const Room& room : shared_->read) static_cast<void>(room.used->wait());
  }
  free_idle(IdleMemory::kAll);
}

std::optional<DeviceClip> DeviceClips::take() {
  Shared& shared = *shared_;
  std::vector<Room> leaves;
  std::optional<Room> room;
  bool grows = false;
  std::uint64_t release = 0;
  {
    const MutexLock lock(shared.mutex);
    shared.sweep(leaves);
    release = shared.releases;
    if (!shared.idle.empty()) {
      room = std::move(shared.idle.back());
      shared.idle.pop_back();
    } else if (shared.held + shared.clip_bytes <= shared.most_bytes) {
      shared.held += shared.clip_bytes;
      grows = true;
    }
  }
  shared.free(std::move(leaves));
  const auto clip = [this](Room of) {
    return DeviceClip(std::make_shared<DeviceClip::State>(shared_, std::move(of)));
  };
  if (room) return clip(std::move(*room));
  if (!grows) return std::nullopt;
  const auto none = [&shared]() -> std::optional<DeviceClip> {
    const MutexLock lock(shared.mutex);
    shared.held -= shared.clip_bytes;
    return std::nullopt;
  };
  auto lease =
      shared.governor->try_reserve(governor_now(), shared.clip_bytes, Governor::WhatIsIdle::kStays);
  if (!lease) return none();
  auto used = shared.device->make_event();
  if (!used) return none();
  auto memory = shared.device->allocate(shared.clip_bytes, shared.stream);
  if (!memory) {
    if (fault_of(memory.error()) == DeviceFault::kOutOfMemory)
      shared.governor->out_of_memory(governor_now());
    return none();
  }
  // The maker writes on another stream: the block must be there for all of them.
  if (!shared.stream->synchronize()) return none();
  lease->allocated(shared.clip_bytes);
  return clip({std::move(*lease), std::move(*memory), std::move(*used), release});
}

std::uint64_t DeviceClips::free_idle(std::uint64_t bytes) {
  std::vector<Room> rooms;
  {
    const MutexLock lock(shared_->mutex);
    shared_->sweep(rooms);
    if (bytes == IdleMemory::kAll) ++shared_->releases;
    while (!shared_->idle.empty() && rooms.size() * shared_->clip_bytes < bytes) {
      rooms.push_back(std::move(shared_->idle.back()));
      shared_->idle.pop_back();
    }
  }
  return shared_->free(std::move(rooms));
}

std::uint64_t DeviceClips::bring_down(std::uint64_t bytes) {
  std::vector<std::weak_ptr<DeviceClip::State>> made;
  {
    const MutexLock lock(shared_->mutex);
    for (const auto& [of, clip] : shared_->made) made.push_back(clip);
  }
  std::uint64_t down = 0;
  for (const auto& clip : made) {
    if (down >= bytes) break;
    // One that cannot be brought down is lost where it is read; one that ended needs no copy.
    const auto alive = clip.lock();
    if (alive && alive->bring_down()) down += shared_->clip_bytes;
  }
  return free_idle(bytes);
}

DeviceClips::Gauges DeviceClips::gauges() const {
  const MutexLock lock(shared_->mutex);
  return {shared_->held, shared_->made.size(), shared_->brought_down};
}

}  // namespace shardreel
