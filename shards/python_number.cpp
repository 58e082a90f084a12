#include "shards/python_number.h"

#include <algorithm>

namespace shardreel {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1c && c <= 0x1f); }

std::int64_t append_digit(std::int64_t value, std::int64_t base, std::int64_t digit) {
  return value > (kHugeNumber - digit) / base ? kHugeNumber : value * base + digit;
}

}  // namespace

std::optional<std::int64_t> python_int(std::string_view text, unsigned base) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  bool negative = false;
  if (text.starts_with('-') || text.starts_with('+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  bool may_underscore = false;
  if (base == 8 && (text.starts_with("0o") || text.starts_with("0O"))) {
    text.remove_prefix(2);
    may_underscore = true;
  }
  std::int64_t value = 0;
  bool digit_last = false;
  for (const char c : text) {
    if (c == '_' && (digit_last || may_underscore)) {
      digit_last = may_underscore = false;
      continue;
    }
    if (c < '0' || c >= static_cast<char>('0' + base)) return std::nullopt;
    value = append_digit(value, base, c - '0');
    digit_last = true;
    may_underscore = false;
  }
  if (!digit_last) return std::nullopt;
  return negative ? -value : value;
}

std::optional<std::int64_t> python_field(std::string_view field) {
  if (field.empty()) return std::nullopt;
  const auto first = static_cast<unsigned char>(field.front());
  if (first == 0x80 || first == 0xFF) {
    // The complement first, so that small negative numbers stay exact.
    std::int64_t value = 0;
    for (const char c : field.substr(1)) {
      const auto byte = static_cast<unsigned char>(c);
      value = append_digit(value, 256, first == 0xFF ? 255 - byte : byte);
    }
    return first == 0xFF ? -value - 1 : value;
  }
  std::string_view text = field.substr(0, field.find('\0'));
  if (std::any_of(text.begin(), text.end(), [](char c) { return (c & 0x80) != 0; })) {
    return std::nullopt;
  }
  if (std::all_of(text.begin(), text.end(), is_space)) return 0;
  return python_int(text, 8);
}

}  // namespace shardreel
