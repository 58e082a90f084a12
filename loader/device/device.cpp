#include "loader/device/device.h"

#include <charconv>
#include <system_error>

namespace shardreel {

std::optional<DeviceId> DeviceId::parse(std::string_view text) {
  DeviceId id;
  if (text.starts_with("cpu:")) {
    text.remove_prefix(4);
  } else if (text.starts_with("cuda:")) {
    id.kind = DeviceKind::kCuda;
    text.remove_prefix(5);
  } else {
    return std::nullopt;
  }
  const char* last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, id.index);
  // One spelling a device: no leading zeros.
  if (status != std::errc{} || end != last || (text.size() > 1 && text.front() == '0'))
    return std::nullopt;
  return id;
}

std::string DeviceId::to_string() const {
  return (kind == DeviceKind::kCpu ? "cpu:" : "cuda:") + std::to_string(index);
}

Error device_error(DeviceFault fault, std::string message) {
  Error error;
  error.message = std::move(message);
  switch (fault) {
    case DeviceFault::kUnavailable: error.code = ErrorCode::kUnsupported; break;
    case DeviceFault::kOutOfMemory: error.code = ErrorCode::kMemory; break;
    case DeviceFault::kInvalid: error.code = ErrorCode::kInternal; break;
    case DeviceFault::kLost: error.code = ErrorCode::kIo; break;
  }
  return error;
}

DeviceFault fault_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kUnsupported: return DeviceFault::kUnavailable;
    case ErrorCode::kMemory: return DeviceFault::kOutOfMemory;
    case ErrorCode::kIo: return DeviceFault::kLost;
    default: return DeviceFault::kInvalid;
  }
}

}  // namespace shardreel
