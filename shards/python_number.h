#pragma once
// Numbers in tar headers as the reference implementation reads them (compat only).

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace shardreel {

/// Beyond every file; larger numbers become this one, so that sums of two stay in range.
constexpr std::int64_t kHugeNumber = std::int64_t{1} << 61;

/// As Python's int(text, base) for base 8 and 10: spaces around it, a sign, "0o" before octal
/// digits and single underscores between digits are allowed.
std::optional<std::int64_t> python_int(std::string_view text, unsigned base);

/// A number field of a header: octal text up to a zero byte, or base-256 behind a first byte of 128
/// (positive) or 255 (negative). Nothing where the reference refuses the header.
std::optional<std::int64_t> python_field(std::string_view field);

}  // namespace shardreel
