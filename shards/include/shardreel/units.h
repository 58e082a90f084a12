#pragma once
// Byte sizes: literals, parsing, printing, and arithmetic that says when it would overflow.

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include <shardreel/error.h>

namespace shardreel {

inline namespace literals {
constexpr std::uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
constexpr std::uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
constexpr std::uint64_t operator""_GiB(unsigned long long n) { return n << 30; }
}  // namespace literals

/// Return a + b, or nothing when it does not fit (sizes that come from files are hostile).
constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
  if (a > std::numeric_limits<std::uint64_t>::max() - b) return std::nullopt;
  return a + b;
}

/// Return a * b, or nothing when it does not fit.
constexpr std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) {
  if (b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b) return std::nullopt;
  return a * b;
}

/// Parse "512MiB", "2GiB", "1.5GB", "65536": decimal (k, M, G, T) or binary (Ki, Mi, Gi, Ti) units,
/// `B` optional.
Result<std::uint64_t> parse_bytes(std::string_view text);

/// Print with a binary unit and one decimal, e.g. "1.5 GiB".
std::string format_bytes(std::uint64_t bytes);

}  // namespace shardreel
