#pragma once
// Pictures as files, by FFmpeg's PNG encoder.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "shardreel/error.h"

namespace shardreel {

/// Encode `rgb` (width * height * 3 bytes, rows from the top) as a PNG file's bytes. The same
/// pixels give the same bytes. kInvalidOption for a size that does not fit the bytes, or that PNG
/// cannot have.
Result<std::string> encode_png(std::span<const std::byte> rgb, std::uint32_t width,
                               std::uint32_t height);

}  // namespace shardreel
