#pragma once
// Which devices the contract is checked on: every test program brings its own list.

#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "loader/device/device.h"

namespace shardreel::testing {

/// A kind of device and what the contract needs of it besides the seam.
struct DeviceCase {
  std::string name;
  std::string why_not;  ///< set: there is none here, and the tests are skipped with this reason
  std::shared_ptr<Device> (*open)(std::uint32_t index) = nullptr;
  void (*fail_allocation)(Device& device, std::uint64_t nth) = nullptr;  ///< may be null
  void (*pause)(Device& device, bool on) = nullptr;                      ///< may be null
  void (*check)() = nullptr;  ///< at the end of every test; may be null
  /// A stream made without the seam, as `Device::borrow_stream` takes it; may be null.
  std::shared_ptr<void> (*foreign_stream)(Device& device) = nullptr;

  friend std::ostream& operator<<(std::ostream& out, const DeviceCase& device) {
    return out << device.name;
  }
};

/// What the program is linked with.
std::vector<DeviceCase> device_cases();

/// Bytes that the first device of a case may hold.
inline constexpr std::uint64_t kDeviceBytes = 64 << 20;

}  // namespace shardreel::testing
