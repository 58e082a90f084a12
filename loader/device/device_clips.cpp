#include "loader/device/device_clips.h"

#include <cstring>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "loader/base/mutex.h"

namespace shardreel {
namespace {

/// A block of the device with its lease, which goes after it.
struct Room {
  Room(GpuLease granted, DeviceBuffer block)
      : lease(std::move(granted)), memory(std::move(block)) {}
  Room(Room&&) noexcept = default;
  Room& operator=(Room&&) noexcept = default;
  GpuLease lease;
  DeviceBuffer memory;
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

  const std::shared_ptr<Device> device;
  const std::shared_ptr<Governor> governor;
  const std::uint64_t clip_bytes, most_bytes;
  BlockPool& host;
  std::shared_ptr<Stream> stream;  // of the blocks, and of the way down

  /// Free a block of the device.
  void free(Room room) {
    room.lease.freeing();
    room.memory = {};
    const MutexLock lock(mutex);
    held -= clip_bytes;
  }
  /// Blocks that lie idle, and those whose readers are done by now.
  std::vector<Room> take_idle() {
    const MutexLock lock(mutex);
    sweep();
    return std::exchange(idle, {});
  }
  /// Move what nobody reads any more to what lies idle.
  void sweep() SHARDREEL_REQUIRES(mutex) {
    while (!read.empty()) {
      const auto happened = read.front().second->happened();
      if (happened && !*happened) return;
      idle.push_back(std::move(read.front().first));
      read.pop_front();
    }
  }

  Mutex pinned_mutex;  // before `mutex` where both are taken
  std::unique_ptr<PinnedBuffer> pinned SHARDREEL_GUARDED_BY(pinned_mutex);

  mutable Mutex mutex;
  std::uint64_t held SHARDREEL_GUARDED_BY(mutex) = 0;
  std::uint64_t brought_down SHARDREEL_GUARDED_BY(mutex) = 0;
  std::vector<Room> idle SHARDREEL_GUARDED_BY(mutex);
  // Behind the work that reads them, oldest first.
  std::deque<std::pair<Room, std::unique_ptr<Event>>> read SHARDREEL_GUARDED_BY(mutex);
  std::map<const void*, std::weak_ptr<DeviceClip::State>> made SHARDREEL_GUARDED_BY(mutex);
};

struct DeviceClip::State {
  State(std::shared_ptr<DeviceClips::Shared> pool, Room block)
      : shared(std::move(pool)), room(std::move(block)) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (!room) return;
    const MutexLock lock(shared->mutex);
    if (used) {
      shared->read.emplace_back(std::move(*room), std::move(used));
    } else {
      shared->idle.push_back(std::move(*room));
    }
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
      // Its readers are behind its maker, and so are we: both only read.
      const MutexLock one(shared->pinned_mutex);
      auto done =
          shared->stream->copy(shared->pinned->data(), room->memory.data(), shared->clip_bytes);
      if (done) done = shared->stream->synchronize();
      if (!done) return done;
      std::memcpy(block.bytes().data(), shared->pinned->data(), shared->clip_bytes);
    }
    host = std::move(block);
    Room gone = std::move(*room);
    room.reset();
    // A reader may still be at it: then it waits with the others.
    const MutexLock of_all(shared->mutex);
    ++shared->brought_down;
    if (used) {
      shared->read.emplace_back(std::move(gone), std::move(used));
    } else {
      shared->idle.push_back(std::move(gone));
    }
    return {};
  }

  const std::shared_ptr<DeviceClips::Shared> shared;
  Mutex mutex;
  std::optional<Room> room;     // none once it was brought down
  std::unique_ptr<Event> used;  // behind the last work that reads it
  Block host;
};

DeviceClip::~DeviceClip() {
  if (!state_) return;
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

Result<bool> DeviceClip::read_on(const std::shared_ptr<Stream>& reader,
                                 const std::function<Result<void>(const void*)>& work) {
  const MutexLock lock(state_->mutex);
  if (!state_->room) return false;
  if (!state_->used) {
    auto event = state_->shared->device->make_event();
    if (!event) return event.error();
    state_->used = std::move(*event);
  }
  if (auto done = work(state_->room->memory.data()); !done) return done.error();
  if (auto done = state_->used->record(*reader); !done) return done.error();
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
  const MutexLock lock(shared->pinned_mutex);
  shared->pinned = std::move(*pinned);
  return std::unique_ptr<DeviceClips>(new DeviceClips(shared));
}

DeviceClips::~DeviceClips() {
  {
    // A device that fails here reads nothing any more.
    const MutexLock lock(shared_->mutex);
    for (const auto& [room, used] : shared_->read) static_cast<void>(used->wait());
  }
  release(~std::uint64_t{0});
}

std::optional<DeviceClip> DeviceClips::take() {
  Shared& shared = *shared_;
  if (const std::uint64_t shed = shared.governor->bytes_to_shed(governor_now()); shed > 0) {
    release(shed);
    return std::nullopt;
  }
  {
    const MutexLock lock(shared.mutex);
    shared.sweep();
    if (!shared.idle.empty()) {
      Room room = std::move(shared.idle.back());
      shared.idle.pop_back();
      return DeviceClip(std::make_shared<DeviceClip::State>(shared_, std::move(room)));
    }
    if (shared.held + shared.clip_bytes > shared.most_bytes) return std::nullopt;
    shared.held += shared.clip_bytes;
  }
  const auto none = [&shared]() -> std::optional<DeviceClip> {
    const MutexLock lock(shared.mutex);
    shared.held -= shared.clip_bytes;
    return std::nullopt;
  };
  auto lease = shared.governor->try_reserve(governor_now(), shared.clip_bytes);
  if (!lease) return none();
  auto memory = shared.device->allocate(shared.clip_bytes, shared.stream);
  if (!memory) {
    if (fault_of(memory.error()) == DeviceFault::kOutOfMemory)
      shared.governor->out_of_memory(governor_now());
    return none();
  }
  // The maker writes on another stream: the block must be there for all of them.
  if (!shared.stream->synchronize()) return none();
  lease->allocated(shared.clip_bytes);
  return DeviceClip(
      std::make_shared<DeviceClip::State>(shared_, Room(std::move(*lease), std::move(*memory))));
}

std::uint64_t DeviceClips::release(std::uint64_t bytes) {
  std::uint64_t came = 0;
  const auto free_idle = [&] {
    for (Room& room : shared_->take_idle()) {
      // What is not asked for stays for the next clip.
      if (came >= bytes) {
        const MutexLock lock(shared_->mutex);
        shared_->idle.push_back(std::move(room));
        continue;
      }
      shared_->free(std::move(room));
      came += shared_->clip_bytes;
    }
  };
  free_idle();
  std::vector<std::shared_ptr<DeviceClip::State>> made;
  {
    const MutexLock lock(shared_->mutex);
    for (const auto& [of, clip] : shared_->made) {
      if (auto alive = clip.lock()) made.push_back(std::move(alive));
    }
  }
  for (const auto& clip : made) {
    if (came >= bytes) break;
    // One that cannot be brought down is lost where it is read.
    if (clip->bring_down()) free_idle();
  }
  // Freeing is in the order of the stream, and what is freed stays with the device's pool.
  if (came > 0 && shared_->stream->synchronize()) shared_->device->trim();
  return came;
}

DeviceClips::Gauges DeviceClips::gauges() const {
  const MutexLock lock(shared_->mutex);
  return {shared_->held, shared_->made.size(), shared_->brought_down};
}

}  // namespace shardreel
