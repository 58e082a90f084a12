#pragma once
// A brace pattern as a tree: it knows how many strings it stands for and can write any one of them,
// but never holds them all.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "shardreel/error.h"

namespace shardreel {

/// The rules are those of bash with the alphabet of Python's braceexpand (A-Z before a-z), which is
/// what the reference implementation uses. Immutable.
class BracePattern {
 public:
  /// Unbalanced braces, a bound that does not fit 64 bits and more than 2^64 - 1 strings are
  /// errors.
  static Result<BracePattern> parse(std::string_view text);

  [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
  /// Append the string at `index` < size() to `out`. The leftmost brace varies slowest.
  void append(std::uint64_t index, std::string& out) const;

 private:
  struct Numbers {
    std::int64_t first = 0;
    std::uint64_t step = 1;
    bool down = false;
    std::size_t width = 0;  ///< zero-padded to so many characters, the sign among them
  };
  struct Letters {
    std::size_t first = 0;  ///< place in the alphabet
    std::uint64_t step = 1;
    bool down = false;
  };
  struct Product {
    std::vector<BracePattern> factors;
  };
  struct Choice {
    std::vector<BracePattern> options;
  };
  using Node = std::variant<std::string, Numbers, Letters, Product, Choice>;

  BracePattern(Node node, std::uint64_t size) : node_(std::move(node)), size_(size) {}
  static BracePattern literal(std::string text) { return BracePattern(Node(std::move(text)), 1); }
  static Result<BracePattern> product(std::vector<BracePattern> factors);
  static Result<BracePattern> parse_sequence(std::string_view text, int depth);
  static Result<BracePattern> parse_braces(std::string_view inside, int depth);
  static Result<BracePattern> parse_range(std::string_view inside, bool& is_range);

  Node node_;
  std::uint64_t size_;
};

}  // namespace shardreel
