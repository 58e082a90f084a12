#pragma once
// What the objects of one CUDA device share.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <string>

#include "loader/base/mutex.h"
#include "loader/device/address_ranges.h"
#include "loader/device/device.h"

namespace shardreel::cuda {

/// Makes a device current for a scope: every call of the runtime goes to the current one, and the
/// caller's thread may be the trainer's.
class Current {
 public:
  explicit Current(std::uint32_t device);
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  ~Current();
  [[nodiscard]] cudaError_t error() const { return error_; }

 private:
  int before_ = -1;
  cudaError_t error_ = cudaSuccess;
};

/// Kept alive by every stream, event and buffer of the device.
struct Core {
  explicit Core(std::uint32_t number) : index(number) {}
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;
  ~Core();

  [[nodiscard]] std::string name() const { return DeviceId{DeviceKind::kCuda, index}.to_string(); }

  const std::uint32_t index;
  cudaMemPool_t pool = nullptr;
  std::uint64_t pool_bytes = 0;  ///< 0 = no bound of our own
  AddressRanges blocks, pinned;
  mutable Mutex mutex;
  std::uint64_t allocated SHARDREEL_GUARDED_BY(mutex) = 0;
};

Result<std::shared_ptr<Stream>> make_stream(const std::shared_ptr<Core>& core);
Result<std::shared_ptr<Stream>> borrow_stream(const std::shared_ptr<Core>& core,
                                              cudaStream_t stream);
Result<std::unique_ptr<Event>> make_event(const std::shared_ptr<Core>& core);
/// The stream's handle, null when it is none of this device.
[[nodiscard]] cudaStream_t handle_of(const Stream& stream, const Core& core);

}  // namespace shardreel::cuda
