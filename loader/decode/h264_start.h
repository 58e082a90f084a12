#pragma once
// Where H.264 begins anew.

#include <cstdint>
#include <span>

struct AVCodecParameters;

namespace shardreel {

/// Whether a packet holds slices of an IDR picture: nothing behind it needs what came before it.
[[nodiscard]] bool holds_idr(std::span<const std::uint8_t> packet,
                             const AVCodecParameters& parameters);

}  // namespace shardreel
