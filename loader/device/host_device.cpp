#include "loader/device/host_device.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <thread>

#include "loader/base/mutex.h"
#include "loader/device/collate_job.h"
#include "loader/device/copy_check.h"
#include "loader/device/pixel_job.h"

namespace shardreel {
namespace {

constexpr std::size_t kAlignment = 256;  // as cudaMalloc gives it
constexpr int kPoison = 0xA5;

/// What streams, events and buffers of one device share; they keep it alive.
struct Core {
  Core(std::uint32_t number, const HostDeviceOptions& given) : index(number), options(given) {}
  const std::uint32_t index;
  const HostDeviceOptions options;
  AddressRanges blocks, pinned;
  mutable Mutex mutex;
  Condition resumed;
  bool paused SHARDREEL_GUARDED_BY(mutex) = false;
  std::uint64_t allocated SHARDREEL_GUARDED_BY(mutex) = 0;
  std::uint64_t other_use SHARDREEL_GUARDED_BY(mutex) = 0;
  std::uint64_t fail_in SHARDREEL_GUARDED_BY(mutex) = 0;

  [[nodiscard]] std::string name() const { return DeviceId{DeviceKind::kCpu, index}.to_string(); }

  /// Count an allocation; of pinned memory, `counted` is 0.
  Result<void*> take(std::uint64_t bytes, std::uint64_t counted) {
    const MutexLock lock(mutex);
    const bool failed = fail_in != 0 && --fail_in == 0;
    const std::uint64_t used = allocated + std::min(other_use, options.memory_bytes);
    const bool fits = used <= options.memory_bytes && counted <= options.memory_bytes - used;
    const std::uint64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    void* data =
        failed || !fits || rounded < bytes ? nullptr : std::aligned_alloc(kAlignment, rounded);
    if (data == nullptr) {
      return device_error(DeviceFault::kOutOfMemory,
                          fmt::format("allocating {} bytes on {}: {} of {} bytes are in use", bytes,
                                      name(), used, options.memory_bytes));
    }
    if (options.poison) std::memset(data, kPoison, rounded);
    allocated += counted;
    return data;
  }

  void give_back(void* data, std::uint64_t bytes, std::uint64_t counted) noexcept {
    if (options.poison) std::memset(data, kPoison, bytes);
    std::free(data);
    const MutexLock lock(mutex);
    allocated -= counted;
  }

  void wait_while_paused() {
    const MutexLock lock(mutex);
    while (paused) resumed.wait(mutex);
  }
};

Error of_another_device(const Core& core, std::string_view what) {
  return device_error(
      DeviceFault::kInvalid,
      fmt::format("{} on {}: expected an object of this device", what, core.name()));
}

class HostStream final : public Stream {
 public:
  explicit HostStream(std::shared_ptr<Core> core)
      : core_(std::move(core)), thread_([this] { run(); }) {}
  ~HostStream() override {
    {
      const MutexLock lock(mutex_);
      closed_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  Result<void> copy_rows(const CopyRows& rows) override {
    if (rows.rows == 0 || rows.row_bytes == 0) return {};
    if (auto kind = check_copy(rows, core_->blocks, core_->pinned); !kind) return kind.error();
    push([rows] {
      for (std::size_t y = 0; y < rows.rows; ++y) {
        std::memcpy(static_cast<std::byte*>(rows.to) + y * rows.to_stride,
                    static_cast<const std::byte*>(rows.from) + y * rows.from_stride,
                    rows.row_bytes);
      }
    });
    return {};
  }

  Result<void> convert(const PixelJob& job) override {
    if (auto checked = check_convert(job, core_->blocks); !checked) return checked;
    push([job] {
      for (std::int32_t y = 0; y < job.height; ++y) {
        for (std::int32_t x = 0; x < job.width; ++x) convert_pixel(job, x, y);
      }
    });
    return {};
  }

  Result<void> collate(const CollateJob& job) override {
    if (auto checked = check_collate(job, core_->blocks); !checked) return checked;
    push([job] {
      for (std::int64_t at = 0; at < job.frames * job.pixels; ++at) collate_pixel(job, at);
    });
    return {};
  }

  Result<void> wait(const Event& event) override;

  Result<void> synchronize() override {
    const MutexLock lock(mutex_);
    while (busy_ || !line_.empty()) changed_.wait(mutex_);
    return {};
  }

  void push(std::function<void()> work) {
    {
      const MutexLock lock(mutex_);
      line_.push_back(std::move(work));
    }
    changed_.notify_all();
  }

  [[nodiscard]] const std::shared_ptr<Core>& core() const { return core_; }

 private:
  void release(void* data) noexcept override {
    push([core = core_, data] {
      const std::uint64_t bytes = core->blocks.remove(data);
      core->give_back(data, bytes, bytes);
    });
  }

  void run() {
    const MutexLock lock(mutex_);
    for (;;) {
      while (line_.empty() && !closed_) changed_.wait(mutex_);
      if (line_.empty()) return;
      auto work = std::move(line_.front());
      line_.pop_front();
      busy_ = true;
      mutex_.unlock();
      core_->wait_while_paused();
      work();
      work = nullptr;  // what it holds dies outside of the lock
      mutex_.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  const std::shared_ptr<Core> core_;
  Mutex mutex_;
  Condition changed_;
  std::deque<std::function<void()>> line_ SHARDREEL_GUARDED_BY(mutex_);
  bool busy_ SHARDREEL_GUARDED_BY(mutex_) = false;
  bool closed_ SHARDREEL_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // last: it uses the others
};

class HostEvent final : public Event {
 public:
  explicit HostEvent(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  /// Outlives the event: a stream may still be waiting for it.
  struct State {
    Mutex mutex;
    Condition changed;
    std::uint64_t recorded SHARDREEL_GUARDED_BY(mutex) = 0;
    std::uint64_t reached SHARDREEL_GUARDED_BY(mutex) = 0;

    void wait_for(std::uint64_t place) {
      const MutexLock lock(mutex);
      while (reached < place) changed.wait(mutex);
    }
    std::uint64_t place() {
      const MutexLock lock(mutex);
      return recorded;
    }
  };

  Result<void> record(Stream& stream) override {
    auto* host = dynamic_cast<HostStream*>(&stream);
    if (host == nullptr || host->core() != core_)
      return of_another_device(*core_, "recording an event");
    std::uint64_t place = 0;
    {
      const MutexLock lock(state_->mutex);
      place = ++state_->recorded;
    }
    host->push([state = state_, place] {
      {
        const MutexLock lock(state->mutex);
        state->reached = std::max(state->reached, place);
      }
      state->changed.notify_all();
    });
    return {};
  }

  [[nodiscard]] Result<bool> happened() const override {
    const MutexLock lock(state_->mutex);
    return state_->reached >= state_->recorded;
  }

  Result<void> wait() const override {
    state_->wait_for(state_->place());
    return {};
  }

  [[nodiscard]] const std::shared_ptr<State>& state() const { return state_; }

 private:
  const std::shared_ptr<Core> core_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

Result<void> HostStream::wait(const Event& event) {
  // Of another host device, too: streams of two GPUs can wait for each other's events.
  const auto* host = dynamic_cast<const HostEvent*>(&event);
  if (host == nullptr) return of_another_device(*core_, "waiting for an event");
  push([state = host->state(), place = host->state()->place()] { state->wait_for(place); });
  return {};
}

class HostPinned final : public PinnedBuffer {
 public:
  HostPinned(std::shared_ptr<Core> core, void* data, std::uint64_t bytes)
      : core_(std::move(core)), data_(data), bytes_(bytes) {
    core_->pinned.add(data_, bytes_);
  }
  HostPinned(const HostPinned&) = delete;
  HostPinned& operator=(const HostPinned&) = delete;
  ~HostPinned() override {
    core_->pinned.remove(data_);
    core_->give_back(data_, bytes_, 0);
  }
  [[nodiscard]] std::byte* data() noexcept override { return static_cast<std::byte*>(data_); }
  [[nodiscard]] std::uint64_t bytes() const noexcept override { return bytes_; }

 private:
  const std::shared_ptr<Core> core_;
  void* const data_;
  const std::uint64_t bytes_;
};

class HostDeviceImpl final : public HostDevice {
 public:
  explicit HostDeviceImpl(std::shared_ptr<Core> core) : core_(std::move(core)) {}

  [[nodiscard]] DeviceId id() const override { return {DeviceKind::kCpu, core_->index}; }
  [[nodiscard]] std::string description() const override { return "host memory"; }
  [[nodiscard]] Result<DeviceMemory> memory() const override {
    const MutexLock lock(core_->mutex);
    const std::uint64_t total = core_->options.memory_bytes;
    const std::uint64_t used = core_->allocated + std::min(core_->other_use, total);
    return DeviceMemory{total - std::min(used, total), total};
  }
  [[nodiscard]] std::uint64_t allocated_bytes() const override {
    const MutexLock lock(core_->mutex);
    return core_->allocated;
  }

  Result<std::shared_ptr<Stream>> make_stream() override {
    return std::shared_ptr<Stream>(std::make_shared<HostStream>(core_));
  }
  Result<std::shared_ptr<Stream>> borrow_stream(void* stream) override {
    auto* host = dynamic_cast<HostStream*>(static_cast<Stream*>(stream));
    if (host == nullptr || host->core() != core_)
      return of_another_device(*core_, "borrowing a stream");
    return std::shared_ptr<Stream>(host, [](Stream*) {});
  }
  Result<std::unique_ptr<Event>> make_event() override {
    return std::unique_ptr<Event>(std::make_unique<HostEvent>(core_));
  }
  Result<DeviceBuffer> allocate(std::uint64_t bytes, std::shared_ptr<Stream> stream) override {
    const auto* host = dynamic_cast<const HostStream*>(stream.get());
    if (bytes == 0 || host == nullptr || host->core() != core_)
      return of_another_device(*core_, fmt::format("allocating {} bytes", bytes));
    auto data = core_->take(bytes, bytes);
    if (!data) return data.error();
    core_->blocks.add(*data, bytes);
    return DeviceBuffer(std::move(stream), *data, bytes);
  }
  Result<std::unique_ptr<PinnedBuffer>> allocate_pinned(std::uint64_t bytes) override {
    if (bytes == 0) return of_another_device(*core_, "allocating 0 pinned bytes");
    auto data = core_->take(bytes, 0);
    if (!data) return data.error();
    return std::unique_ptr<PinnedBuffer>(std::make_unique<HostPinned>(core_, *data, bytes));
  }
  void trim() noexcept override {}  // nothing is kept

  void fail_allocation(std::uint64_t nth) override {
    const MutexLock lock(core_->mutex);
    core_->fail_in = nth;
  }
  void set_other_use(std::uint64_t bytes) override {
    const MutexLock lock(core_->mutex);
    core_->other_use = bytes;
  }
  void pause(bool on) override {
    {
      const MutexLock lock(core_->mutex);
      core_->paused = on;
    }
    core_->resumed.notify_all();
  }

 private:
  const std::shared_ptr<Core> core_;
};

}  // namespace

std::shared_ptr<HostDevice> HostDevice::make(std::uint32_t index,
                                             const HostDeviceOptions& options) {
  return std::make_shared<HostDeviceImpl>(std::make_shared<Core>(index, options));
}

}  // namespace shardreel
