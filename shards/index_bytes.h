#pragma once
// The integers of an index: little-endian words and variable-length numbers, written to a string
// and read back from untrusted bytes.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace shardreel {

/// Signed numbers of small magnitude as small unsigned ones: 0, -1, 1, -2, ... as 0, 1, 2, 3, ...
constexpr std::uint64_t zigzag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
constexpr std::int64_t unzigzag(std::uint64_t value) {
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

/// a - b and a + b modulo 2^64: differences of any two times have a code, even of unknown ones.
constexpr std::int64_t wrapping_sub(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}
constexpr std::int64_t wrapping_add(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

class IndexBytes {
 public:
  void word(std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) text_.push_back(static_cast<char>(value >> (8 * i)));
  }
  /// Seven bits a byte, the lowest first; the high bit says that more follow.
  void number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_.push_back(static_cast<char>(value | 0x80));
    text_.push_back(static_cast<char>(value));
  }
  void signed_number(std::int64_t value) { number(zigzag(value)); }
  void real(double value) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    word(bits, 8);
  }
  void text(std::string_view value) {
    number(value.size());
    text_.append(value);
  }
  void append(std::string_view bytes) { text_.append(bytes); }
  [[nodiscard]] const std::string& bytes() const { return text_; }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// Reads what IndexBytes wrote. Once something did not fit, `good` is false for good and every
/// further value is 0 or empty.
class IndexCursor {
 public:
  explicit IndexCursor(std::string_view bytes, std::size_t at = 0) : bytes_(bytes), at_(at) {
    if (at_ > bytes_.size()) fail();
  }
  [[nodiscard]] bool good() const { return good_; }
  [[nodiscard]] std::size_t position() const { return at_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }
  void fail() {
    good_ = false;
    at_ = bytes_.size();
  }

  std::uint64_t word(int bytes) {
    const auto size = static_cast<std::size_t>(bytes);
    if (left() < size) fail();
    if (!good_) return 0;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value |= std::uint64_t{byte(at_ + i)} << (8 * i);
    at_ += size;
    return value;
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; at_ < bytes_.size(); shift += 7) {
      const std::uint64_t bits = byte(at_) & 0x7fU;
      const bool more = (byte(at_++) & 0x80U) != 0;
      // The tenth byte holds the 64th bit only. A last byte of zero bits says nothing: each number
      // has one form, so that equal indexes have equal bytes.
      if (shift == 63 && (bits > 1 || more)) break;
      if (!more && bits == 0 && shift > 0) break;
      value |= bits << shift;
      if (!more) return value;
    }
    fail();
    return 0;
  }
  std::int64_t signed_number() { return unzigzag(number()); }
  /// A number of at most `most`.
  std::uint64_t number_up_to(std::uint64_t most) {
    const std::uint64_t value = number();
    if (value > most) fail();
    return good_ ? value : 0;
  }
  /// How many things follow that take at least `each` bytes: so a count cannot claim more than the
  /// bytes could hold.
  std::uint64_t count_of(std::size_t each) { return number_up_to(left() / each); }
  double real() {
    const std::uint64_t bits = word(8);
    double value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  std::string_view text() {
    const auto size = static_cast<std::size_t>(number_up_to(left()));
    if (size > left()) fail();
    if (!good_) return {};
    at_ += size;
    return bytes_.substr(at_ - size, size);
  }

 private:
  [[nodiscard]] unsigned byte(std::size_t at) const {
    return static_cast<unsigned char>(bytes_[at]);
  }
  std::string_view bytes_;
  std::size_t at_;
  bool good_ = true;
};

}  // namespace shardreel
