#pragma once
// The triangle filter of docs/pixels.md for one side of a picture, in integers.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shardreel {

/// What a filter is made for: `to` samples from [left, left + size) of `from` samples; `reversed`
/// gives them from the last to the first.
struct FilterSpan {
  std::uint32_t from = 0, to = 0;
  double left = 0, size = 0;
  bool reversed = false;
  friend bool operator==(const FilterSpan&, const FilterSpan&) = default;
};

/// Output sample i is the sum over t < taps of weight[i * taps + t] * input[first[i] + t], in
/// 1/65536. All inputs exist, the weights of an output add up to 65536 (65535 where that is one
/// weight alone, the most that 16 bits hold).
class SideFilter {
 public:
  /// The kernels round each product down, which costs an output up to this many units of 1/65536
  /// of full scale: less than 1/8 of an 8-bit step either way, after half of it was put back.
  static constexpr int kMaxTaps = 66;

  /// Whether the ratio needs no more than kMaxTaps.
  [[nodiscard]] static bool takes(const FilterSpan& span);

  /// Make this the filter for `span`, which `takes` accepts. Allocates only to grow.
  void build(const FilterSpan& span);

  [[nodiscard]] const FilterSpan& span() const { return span_; }
  [[nodiscard]] int taps() const { return taps_; }
  /// The inputs that take part, as [begin, end).
  [[nodiscard]] std::uint32_t begin() const { return begin_; }
  [[nodiscard]] std::uint32_t end() const { return end_; }
  [[nodiscard]] const std::int32_t* first() const { return first_.data(); }
  [[nodiscard]] const std::uint16_t* weights() const { return weights_.data(); }
  /// The same weights, each in both halves of a word: what the kernels spread over a vector.
  [[nodiscard]] const std::uint32_t* doubled_weights() const { return doubled_weights_.data(); }

  [[nodiscard]] std::uint64_t bytes() const;
  /// What a filter to `to` samples takes at most, from up to `from` samples.
  [[nodiscard]] static std::uint64_t bytes_bound(std::uint64_t from, std::uint64_t to);

 private:
  /// Leave out zeros: from `room` weights an output to `taps`.
  void pack(std::size_t room, std::size_t taps);

  FilterSpan span_;
  int taps_ = 0;
  std::uint32_t begin_ = 0, end_ = 0;
  std::vector<std::int32_t> first_;
  std::vector<std::uint16_t> weights_;
  std::vector<std::uint32_t> doubled_weights_;
};

}  // namespace shardreel
