#include "shards/brace_pattern.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "shardreel/units.h"

namespace shardreel {
namespace {

constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

// Nesting is parsed by recursion; nobody nests braces a hundred deep except to exhaust the stack.
constexpr int kMaxDepth = 100;

Error invalid(std::string message) {
  return Error{ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

std::string unescape(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    plain += text[i];
  }
  return plain;
}

bool is_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_integer(std::string_view text) {
  if (text.starts_with('-')) text.remove_prefix(1);
  return is_digits(text);
}

bool is_letter(std::string_view text) {
  return text.size() == 1 && kAlphabet.find(text.front()) != std::string_view::npos;
}

template <typename Integer>
std::optional<Integer> to_integer(std::string_view text) {
  Integer value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// "007" and "-01" ask for zero padding, "0" and "-0" do not.
bool asks_for_padding(std::string_view bound) {
  if (bound == "0" || bound == "-0") return false;
  return bound.starts_with('0') || bound.starts_with("-0");
}

/// Bounds of a range are in no order; its length does not fit when it spans all 64-bit integers.
std::uint64_t distance(std::int64_t a, std::int64_t b) {
  return a < b ? static_cast<std::uint64_t>(b) - static_cast<std::uint64_t>(a)
               : static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b);
}

std::string padded(std::int64_t value, std::size_t width) {
  // The magnitude of the smallest integer does not fit the signed type.
  const bool negative = value < 0;
  const auto bits = static_cast<std::uint64_t>(value);
  std::string digits = std::to_string(negative ? 0 - bits : bits);
  const std::size_t taken = digits.size() + (negative ? 1 : 0);
  if (taken < width) digits.insert(0, width - taken, '0');
  return negative ? "-" + digits : digits;
}

}  // namespace

Result<BracePattern> BracePattern::parse(std::string_view text) { return parse_sequence(text, 0); }

Result<BracePattern> BracePattern::product(std::vector<BracePattern> factors) {
  if (factors.size() == 1) return std::move(factors.front());
  std::uint64_t size = 1;
  for (const BracePattern& factor : factors) {
    const auto grown = checked_mul(size, factor.size());
    if (!grown) return invalid("a brace pattern stands for more than 2^64 - 1 shards");
    size = *grown;
  }
  return BracePattern(Product{std::move(factors)}, size);
}

Result<BracePattern> BracePattern::parse_sequence(std::string_view text, int depth) {
  if (depth > kMaxDepth) {
    return invalid(fmt::format("braces are nested more than {} deep", kMaxDepth));
  }
  std::vector<BracePattern> factors;
  std::size_t start = 0;
  int open = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '{') {
      if (open++ > 0) continue;
      if (i > start) factors.push_back(literal(unescape(text.substr(start, i - start))));
      start = i + 1;
    } else if (text[i] == '}') {
      if (open == 0) return invalid(fmt::format("'{}' has a '}}' without its '{{'", text));
      if (--open > 0) continue;
      auto inner = parse_braces(text.substr(start, i - start), depth + 1);
      if (!inner) return inner;
      factors.push_back(std::move(*inner));
      start = i + 1;
    }
  }
  if (open > 0) return invalid(fmt::format("'{}' has a '{{' without its '}}'", text));
  if (start < text.size() || factors.empty()) {
    factors.push_back(literal(unescape(text.substr(start))));
  }
  return product(std::move(factors));
}

Result<BracePattern> BracePattern::parse_braces(std::string_view inside, int depth) {
  bool is_range = false;
  auto range = parse_range(inside, is_range);
  if (is_range) return range;

  Choice choice;
  std::uint64_t size = 0;
  const auto add = [&](std::string_view option) -> Result<void> {
    auto parsed = parse_sequence(option, depth);
    if (!parsed) return std::move(parsed.error());
    const auto grown = checked_add(size, parsed->size());
    if (!grown) return invalid("a brace pattern stands for more than 2^64 - 1 shards");
    size = *grown;
    choice.options.push_back(std::move(*parsed));
    return {};
  };
  std::size_t start = 0;
  int open = 0;
  for (std::size_t i = 0; i < inside.size(); ++i) {
    if (inside[i] == '\\')
      ++i;
    else if (inside[i] == '{')
      ++open;
    else if (inside[i] == '}')
      --open;
    else if (inside[i] == ',' && open == 0) {
      if (auto added = add(inside.substr(start, i - start)); !added) return added.error();
      start = i + 1;
    }
  }
  if (auto added = add(inside.substr(start)); !added) return added.error();
  if (choice.options.size() > 1) return BracePattern(std::move(choice), size);

  // Without a comma the braces are ordinary characters: {b} stays {b}.
  std::vector<BracePattern> kept;
  kept.push_back(literal("{"));
  kept.push_back(std::move(choice.options.front()));
  kept.push_back(literal("}"));
  return product(std::move(kept));
}

Result<BracePattern> BracePattern::parse_range(std::string_view inside, bool& is_range) {
  is_range = false;
  const std::size_t dots = inside.find("..");
  if (dots == std::string_view::npos) return literal("");
  const std::string_view left = inside.substr(0, dots);
  std::string_view right = inside.substr(dots + 2);
  std::string_view step_text;
  bool has_step = false;
  if (const std::size_t second = right.find(".."); second != std::string_view::npos) {
    has_step = true;
    step_text = right.substr(second + 2);
    right = right.substr(0, second);
    if (step_text.starts_with('-')) step_text.remove_prefix(1);  // the bounds give the direction
  }
  const bool numbers = is_integer(left) && is_integer(right);
  if (!(numbers || (is_letter(left) && is_letter(right))) || (has_step && !is_digits(step_text))) {
    return literal("");
  }
  is_range = true;
  const auto refuse = [&] {
    return invalid(fmt::format("the range '{{{}}}' does not fit 64-bit integers", inside));
  };
  std::uint64_t step = 1;
  if (has_step) {
    const auto given = to_integer<std::uint64_t>(step_text);
    if (!given) return refuse();
    step = std::max<std::uint64_t>(*given, 1);
  }
  if (!numbers) {
    const auto from = static_cast<std::int64_t>(kAlphabet.find(left.front()));
    const auto to = static_cast<std::int64_t>(kAlphabet.find(right.front()));
    return BracePattern(Letters{static_cast<std::size_t>(from), step, to < from},
                        distance(from, to) / step + 1);
  }
  const auto from = to_integer<std::int64_t>(left);
  const auto to = to_integer<std::int64_t>(right);
  if (!from || !to) return refuse();
  const auto size = checked_add(distance(*from, *to) / step, 1);
  if (!size) return refuse();
  const bool pad = asks_for_padding(left) || asks_for_padding(right);
  return BracePattern(
      Numbers{*from, step, *to < *from, pad ? std::max(left.size(), right.size()) : 0}, *size);
}

void BracePattern::append(std::uint64_t index, std::string& out) const {
  if (const auto* text = std::get_if<std::string>(&node_)) {
    out += *text;
  } else if (const auto* numbers = std::get_if<Numbers>(&node_)) {
    // Unsigned arithmetic: index < size() keeps the value itself within the bounds.
    const std::uint64_t moved = index * numbers->step;
    const auto first = static_cast<std::uint64_t>(numbers->first);
    out += padded(static_cast<std::int64_t>(numbers->down ? first - moved : first + moved),
                  numbers->width);
  } else if (const auto* letters = std::get_if<Letters>(&node_)) {
    const auto moved = static_cast<std::size_t>(index * letters->step);
    out += kAlphabet[letters->down ? letters->first - moved : letters->first + moved];
  } else if (const auto* product = std::get_if<Product>(&node_)) {
    std::uint64_t behind = size_;
    for (const BracePattern& factor : product->factors) {
      behind /= factor.size();
      factor.append(index / behind, out);
      index %= behind;
    }
  } else if (const auto* choice = std::get_if<Choice>(&node_)) {
    for (const BracePattern& option : choice->options) {
      if (index < option.size()) return option.append(index, out);
      index -= option.size();
    }
  }
}

}  // namespace shardreel
