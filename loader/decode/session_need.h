#pragma once
// What a device has to have for a video's decoder session.

#include <cstdint>
#include <optional>
#include <string>

#include "loader/demux/unit.h"

namespace shardreel {

struct SessionNeed {
  std::string kind;         ///< what decides whether it is taken: codec, profile, format, size
  std::string parameters;   ///< the kind and all else that a session goes on with, if it is equal
  std::uint64_t bytes = 0;  ///< of device memory, by the formula of docs/gpu.md
};

/// Nothing for codecs that no decoder of a device takes.
[[nodiscard]] std::optional<SessionNeed> session_need(const StreamParameters& parameters);

}  // namespace shardreel
