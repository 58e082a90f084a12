#pragma once
// The context that the runtime, torch and FFmpeg share on one device, for those who speak to the
// driver itself.

#include <cstdint>
#include <memory>

#include "loader/device/device.h"

namespace shardreel::cuda {

/// Keeps the device's primary context while it lives. The driver's library is opened while running.
class PrimaryContext {
 public:
  /// kUnavailable: no driver, or one that refuses.
  static Result<std::unique_ptr<PrimaryContext>> retain(std::uint32_t device);
  PrimaryContext(const PrimaryContext&) = delete;
  PrimaryContext& operator=(const PrimaryContext&) = delete;
  ~PrimaryContext();

  [[nodiscard]] void* handle() const noexcept { return context_; }  ///< a CUcontext

 private:
  struct Driver;
  PrimaryContext(std::unique_ptr<Driver> driver, int device, void* context);
  const std::unique_ptr<Driver> driver_;
  const int device_;
  void* const context_;
};

}  // namespace shardreel::cuda
