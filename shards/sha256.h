#pragma once
// SHA-256 of shards and fields, by OpenSSL.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel {

/// Takes bytes in order; gives their SHA-256 as 64 lower-case hexadecimal digits. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();

  void update(std::span<const std::byte> bytes);

  /// The digest of everything given; call once. Fails only where OpenSSL does (kInternal).
  Result<std::string> finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The digest of a whole source, read in blocks of 1 MiB.
Result<std::string> sha256_of(const RandomAccess& content);

/// Whether `text` is a digest as `finish` gives it.
[[nodiscard]] bool is_sha256_hex(std::string_view text) noexcept;

}  // namespace shardreel
