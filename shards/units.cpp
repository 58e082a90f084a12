#include "shardreel/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace shardreel {
namespace {

struct Suffix {
  std::string_view name;
  double factor;
};

constexpr std::array<Suffix, 8> kSuffixes{{{"Ki", 1024.0},
                                           {"Mi", 1048576.0},
                                           {"Gi", 1073741824.0},
                                           {"Ti", 1099511627776.0},
                                           {"k", 1e3},
                                           {"M", 1e6},
                                           {"G", 1e9},
                                           {"T", 1e12}}};

}  // namespace

Result<std::uint64_t> parse_bytes(std::string_view text) {
  const auto refuse = [&] {
    return Error{
        ErrorCode::kInvalidOption,
        fmt::format("'{}' is not a byte size; write e.g. 65536, 512MiB, 2GiB or 1.5GB", text),
        {},
        {},
        {}};
  };
  double number = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (status != std::errc{} || !(number >= 0)) return refuse();

  std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  if (!unit.empty() && unit.back() == 'B') unit.remove_suffix(1);
  double factor = unit.empty() ? 1.0 : 0.0;
  for (const Suffix& suffix : kSuffixes) {
    if (unit == suffix.name) factor = suffix.factor;
  }
  const double bytes = number * factor;
  // 2^63: everything above is a mistake, and doubles beyond 2^64 would not convert.
  if (factor == 0.0 || !(bytes < 9223372036854775808.0)) return refuse();
  return static_cast<std::uint64_t>(std::llround(bytes));
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kNames{"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < kNames.size()) {
    value /= 1024.0;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kNames[unit]);
}

}  // namespace shardreel
