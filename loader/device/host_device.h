#pragma once
// Virtual devices in host memory: what `cpu:N` is, and what every path to several devices is tested
// on.

#include <cstdint>
#include <memory>

#include "loader/device/device.h"

namespace shardreel {

struct HostDeviceOptions {
  std::uint64_t memory_bytes = std::uint64_t{1} << 40;  ///< buffers beyond it are refused
  bool poison = false;  ///< fill fresh and freed memory, so that reading it shows
};

/// Streams are threads that work off their lines in order; memory is counted against a budget of
/// its own. Pinned memory is plain memory. Besides the seam, it can be told to fail. Thread-safe.
class HostDevice : public Device {
 public:
  static std::shared_ptr<HostDevice> make(std::uint32_t index,
                                          const HostDeviceOptions& options = {});

  /// The `nth` allocation from now on (1 = the next one, pinned ones count, too) fails as if memory
  /// were short, once; 0 takes that back.
  virtual void fail_allocation(std::uint64_t nth) = 0;
  /// What another process uses: taken off what is free.
  virtual void set_other_use(std::uint64_t bytes) = 0;
  /// While on, streams begin nothing. Turn it off before waiting.
  virtual void pause(bool on) = 0;
};

}  // namespace shardreel
