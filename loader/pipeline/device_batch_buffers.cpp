#include <fmt/format.h>

#include <chrono>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/batch/device_collate.h"
#include "loader/device/batch_uploads.h"
#include "loader/pipeline/batch_buffers.h"
#include "shardreel/units.h"

namespace shardreel {
namespace {

// A governor that closed may open again behind its longest cool-down.
constexpr std::chrono::seconds kLongestWait{65};
constexpr std::chrono::milliseconds kLookEvery{20};

/// A batch on its way to the device, or there.
class DeviceStorage final : public Batch::Storage {
 public:
  DeviceStorage(std::shared_ptr<Device> device, DeviceBatch batch, std::optional<GpuLease> lease)
      : device_(std::move(device)), lease_(std::move(lease)), batch_(std::move(batch)) {}
  ~DeviceStorage() override {
    // A stream that fails here reads nothing any more.
    if (user_) static_cast<void>(batch_.used_by(*user_));
    if (lease_) lease_->freeing();
  }

  [[nodiscard]] DeviceBatch& batch() noexcept { return batch_; }
  std::byte* data() noexcept override { return static_cast<std::byte*>(batch_.data()); }

  Result<void> use_on(void* stream) override {
    auto user = device_->borrow_stream(stream);
    if (!user) return user.error();
    if (auto done = (*user)->wait(batch_.ready()); !done) return done;
    user_ = std::move(*user);
    return {};
  }

  Result<void> copy_to_host(std::span<std::byte> to) override {
    auto stream = device_->make_stream();
    if (!stream) return stream.error();
    auto pinned = device_->allocate_pinned(to.size());
    if (!pinned) return pinned.error();
    if (auto done = (*stream)->wait(batch_.ready()); !done) return done;
    if (auto done = (*stream)->copy((*pinned)->data(), batch_.data(), to.size()); !done)
      return done;
    if (auto done = (*stream)->synchronize(); !done) return done;
    std::memcpy(to.data(), (*pinned)->data(), to.size());
    return {};
  }

 private:
  const std::shared_ptr<Device> device_;
  std::optional<GpuLease> lease_;  // of one beyond the plan
  DeviceBatch batch_;
  std::shared_ptr<Stream> user_;
};

/// A batch on its way: clips of the host go into a pinned block, and up from there at the end;
/// those of the device go across at once.
class UploadBuffer final : public BatchBuffer {
 public:
  UploadBuffer(BatchUploads& uploads, const DeviceCollate& collate,
               std::unique_ptr<DeviceStorage> storage, std::stop_token stop)
      : uploads_(uploads),
        collate_(collate),
        stop_(std::move(stop)),
        storage_(std::move(storage)) {}

  Result<std::byte*> part(std::uint64_t at, std::uint64_t bytes) override {
    if (!block_) {
      auto block = uploads_.staging(stop_);
      if (!block) return block.error();
      block_.emplace(std::move(*block));
    }
    if (!parts_.empty() && parts_.back().at + parts_.back().bytes == at) {
      parts_.back().bytes += bytes;
    } else {
      parts_.push_back({at, bytes});
    }
    return block_->data() + at;
  }

  Result<bool> take_there(DeviceClip& clip, std::uint64_t at) override {
    if (auto done = begin(); !done) return done.error();
    Stream& stream = *uploads_.stream();
    auto there = clip.read_on(stream, [&](const void* pixels) {
      return collate_.put(stream, pixels, storage_->data() + at);
    });
    // The way over the host needs nothing there.
    if (!there && fault_of(there.error()) == DeviceFault::kOutOfMemory) return false;
    return there;
  }

  Result<std::unique_ptr<Batch::Storage>> finish(std::uint64_t /*bytes*/) override {
    auto done = begin();
    if (done && block_) done = uploads_.upload(std::move(*block_), parts_, storage_->batch());
    if (done) done = uploads_.finish(storage_->batch());
    if (!done) return done.error();
    return std::unique_ptr<Batch::Storage>(std::move(storage_));
  }

 private:
  Result<void> begin() {
    if (begun_) return {};
    begun_ = true;
    return uploads_.begin(storage_->batch());
  }

  BatchUploads& uploads_;
  const DeviceCollate& collate_;
  const std::stop_token stop_;
  std::unique_ptr<DeviceStorage> storage_;
  std::optional<PinnedBlock> block_;
  std::vector<BatchUploads::Part> parts_;
  bool begun_ = false;
};

class DeviceBuffers final : public BatchBuffers {
 public:
  DeviceBuffers(LaneDevice lane, GpuLease lease, std::unique_ptr<BatchUploads> uploads,
                DeviceCollate collate, std::size_t bytes)
      : lane_(std::move(lane)),
        lease_(std::move(lease)),
        bytes_(bytes),
        uploads_(std::move(uploads)),
        collate_(std::move(collate)) {}
  ~DeviceBuffers() override { lease_.freeing(); }

  Result<std::unique_ptr<BatchBuffer>> take(const std::stop_token& stop) override {
    auto batch = uploads_->take();
    if (!batch) return std::unique_ptr<BatchBuffer>();
    return buffer(std::move(*batch), std::nullopt, stop);
  }

  Result<std::unique_ptr<BatchBuffer>> take_extra(const std::stop_token& stop) override {
    std::optional<GpuLease> lease;
    // A governor that grants nothing to anybody for a while says nothing of this consumer.
    for (const auto until = std::chrono::steady_clock::now() + kLongestWait;;) {
      if (const auto memory = lane_.device->memory())
        lane_.governor->reading(governor_now(), memory->free_bytes);
      lease = lane_.governor->try_reserve(governor_now(), bytes_);
      if (lease || lane_.governor->gauges(governor_now()).open) break;
      if (std::chrono::steady_clock::now() >= until) break;
      auto came_back = take(stop);
      if (!came_back || *came_back) return came_back;
      const MutexLock lock(mutex_);
      if (!never_.wait_for(mutex_, stop, kLookEvery))
        return Error{.code = ErrorCode::kStopped, .message = "stopped while waiting for a batch"};
    }
    auto batch = lease ? uploads_->take_extra() : no_room();
    if (!batch && fault_of(batch.error()) == DeviceFault::kOutOfMemory) {
      batch.error().message = fmt::format(
          "the consumer keeps all batches of {} and asks for one more: {}. Raise held_batches or "
          "gpu_memory_bytes, or let batches go",
          lane_.device->id().to_string(), batch.error().message);
    }
    if (!batch) return batch.error();
    lease->allocated(bytes_);
    return buffer(std::move(*batch), std::move(lease), stop);
  }

  [[nodiscard]] bool all_in_use() const override { return uploads_->all_in_use(); }
  [[nodiscard]] std::uint64_t fixed_bytes() const override {
    return BatchUploads::kStagingBlocks * bytes_;
  }
  [[nodiscard]] std::uint64_t bytes_in_use() const override { return 0; }

 private:
  [[nodiscard]] Result<DeviceBatch> no_room() const {
    return device_error(DeviceFault::kOutOfMemory,
                        fmt::format("its {} would go beyond gpu_memory_bytes or into "
                                    "gpu_memory_reserve",
                                    format_bytes(bytes_)));
  }

  Result<std::unique_ptr<BatchBuffer>> buffer(DeviceBatch batch, std::optional<GpuLease> lease,
                                              const std::stop_token& stop) {
    return std::unique_ptr<BatchBuffer>(std::make_unique<UploadBuffer>(
        *uploads_, collate_,
        std::make_unique<DeviceStorage>(lane_.device, std::move(batch), std::move(lease)), stop));
  }

  const LaneDevice lane_;
  GpuLease lease_;
  const std::size_t bytes_;
  const std::unique_ptr<BatchUploads> uploads_;
  const DeviceCollate collate_;
  Mutex mutex_;
  Condition never_;  // notified by nobody: the governor has no clock of its own
};

}  // namespace

Result<std::unique_ptr<BatchBuffers>> device_batch_buffers(const LaneDevice& lane,
                                                           const LoaderOptions& options,
                                                           std::size_t bytes, std::size_t count) {
  const std::uint64_t all = BatchUploads::device_bytes(bytes, count);
  auto lease = lane.governor->try_reserve(governor_now(), all);
  if (!lease) {
    return device_error(
        DeviceFault::kOutOfMemory,
        fmt::format("{} has no room for its {} batches ({}): {} are free, and gpu_memory_bytes and "
                    "gpu_memory_reserve leave less than that to the loader. Lower batch_size, "
                    "prefetch_batches or held_batches, or change those",
                    lane.device->id().to_string(), count, format_bytes(all),
                    format_bytes(lane.governor->gauges(governor_now()).least_free)));
  }
  auto uploads = BatchUploads::make(lane.device, bytes, count);
  if (!uploads) return uploads.error();
  auto collate = DeviceCollate::make(*lane.device, (*uploads)->stream(), options.transform,
                                     options.window.num_frames);
  if (!collate) return collate.error();
  lease->allocated(all);
  return std::unique_ptr<BatchBuffers>(std::make_unique<DeviceBuffers>(
      lane, std::move(*lease), std::move(*uploads), std::move(*collate), bytes));
}

}  // namespace shardreel
