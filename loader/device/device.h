#pragma once
// The seam to devices: memory, ordered work, events. Everything that feeds several devices is
// written against this and tested on virtual host devices.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "shardreel/error.h"

namespace shardreel {

enum class DeviceKind { kCpu, kCuda };

/// `cpu:0`, `cuda:1`. Host devices are virtual: any index will do.
struct DeviceId {
  DeviceKind kind = DeviceKind::kCpu;
  std::uint32_t index = 0;
  friend bool operator==(const DeviceId&, const DeviceId&) = default;

  /// Return nothing for text that names no device.
  static std::optional<DeviceId> parse(std::string_view text);
  [[nodiscard]] std::string to_string() const;
};

/// What an error of a device asks for.
enum class DeviceFault {
  kUnavailable,  ///< not here, and will not be: use another one (kUnsupported)
  kOutOfMemory,  ///< give memory back, or do with less (kMemory)
  kInvalid,      ///< a rule of the seam was broken: a fault of ours (kInternal)
  kLost,         ///< the device stopped working: nothing on it can be trusted (kIo)
};
[[nodiscard]] Error device_error(DeviceFault fault, std::string message);
/// The fault of an error that this seam returned.
[[nodiscard]] DeviceFault fault_of(const Error& error);

struct DeviceMemory {
  std::uint64_t free_bytes = 0;  ///< of everybody: other processes' use is taken off
  std::uint64_t total_bytes = 0;
};

class Event;
struct PixelJob;
struct CollateJob;

/// Rows of `row_bytes` bytes each, `stride` bytes apart.
struct CopyRows {
  void* to = nullptr;
  std::size_t to_stride = 0;
  const void* from = nullptr;
  std::size_t from_stride = 0;
  std::size_t row_bytes = 0, rows = 0;
};

/// Work that a device does in order. Calls only put work in line, save `synchronize`; copies go
/// between the device's memory and *pinned* host memory of the same device, because others make the
/// caller wait behind its back. Both sides stay as they are until the copy ran. An error of work
/// that was put in line comes out of a later call. Thread-safe. A stream that dies finishes first.
class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  /// Which sides are the device's is seen from the addresses. kInvalid: bytes outside of a live
  /// block, rows that overlap.
  virtual Result<void> copy_rows(const CopyRows& rows) = 0;
  Result<void> copy(void* to, const void* from, std::size_t bytes) {
    return copy_rows({to, bytes, from, bytes, bytes, 1});
  }
  /// Convert a frame into its slot, which lies in a block of this device; frames and tables must
  /// stay until then, too.
  virtual Result<void> convert(const PixelJob& job) = 0;
  /// Write a clip of this device's memory into its place in a batch there; clip and table stay
  /// until then.
  virtual Result<void> collate(const CollateJob& job) = 0;
  /// Later work waits until `event`, as recorded now, has happened. The caller does not wait.
  virtual Result<void> wait(const Event& event) = 0;
  /// Wait until everything in line was done.
  virtual Result<void> synchronize() = 0;

 private:
  friend class DeviceBuffer;
  /// Free a block once the work in line was done.
  virtual void release(void* data) noexcept = 0;
};

/// A place in a stream's line. Thread-safe.
class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  virtual ~Event() = default;

  /// Be what is in line now. Recording again forgets the earlier place.
  virtual Result<void> record(Stream& stream) = 0;
  /// Whether it happened; true before the first record.
  [[nodiscard]] virtual Result<bool> happened() const = 0;
  /// Wait for it.
  virtual Result<void> wait() const = 0;
};

/// A block of a device's memory, given back in the order of the stream it came with. Move-only.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(std::shared_ptr<Stream> stream, void* data, std::uint64_t bytes)
      : stream_(std::move(stream)), data_(data), bytes_(bytes) {}
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    DeviceBuffer taken(std::move(other));  // by way of a third, for an assignment to itself
    swap(taken);
    return *this;
  }
  ~DeviceBuffer() {
    if (data_ != nullptr) stream_->release(data_);
  }

  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept { return bytes_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(stream_, other.stream_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
  }
  std::shared_ptr<Stream> stream_;  // shared: blocks outlive whoever made the stream
  void* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

/// Pinned host memory; whoever lets it die has waited for the copies from and to it. Move-only.
class PinnedBuffer {
 public:
  virtual ~PinnedBuffer() = default;
  [[nodiscard]] virtual std::byte* data() noexcept = 0;
  [[nodiscard]] virtual std::uint64_t bytes() const noexcept = 0;
};

/// One device. What comes from it keeps it alive. Thread-safe.
class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  [[nodiscard]] virtual DeviceId id() const = 0;
  [[nodiscard]] virtual std::string description() const = 0;  ///< of the hardware, for people
  [[nodiscard]] virtual Result<DeviceMemory> memory() const = 0;
  /// Bytes that buffers hold, as this device counts them.
  [[nodiscard]] virtual std::uint64_t allocated_bytes() const = 0;

  virtual Result<std::shared_ptr<Stream>> make_stream() = 0;
  /// A stream that somebody else made and ends, after what is returned here died: a cudaStream_t
  /// of this device (null = the legacy default one); of a virtual device, a Stream of it.
  virtual Result<std::shared_ptr<Stream>> borrow_stream(void* stream) = 0;
  virtual Result<std::unique_ptr<Event>> make_event() = 0;
  /// Memory that work put into `stream` from now on may use; others need an event. Content is
  /// arbitrary. kOutOfMemory changes nothing and may be tried again.
  virtual Result<DeviceBuffer> allocate(std::uint64_t bytes, std::shared_ptr<Stream> stream) = 0;
  /// Slow, and may wait for the whole device: at the start, not between batches.
  virtual Result<std::unique_ptr<PinnedBuffer>> allocate_pinned(std::uint64_t bytes) = 0;
  /// Give back memory that is kept for reuse.
  virtual void trim() noexcept = 0;
};

}  // namespace shardreel
