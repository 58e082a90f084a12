#include "shards/sha256.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace shardreel {

struct Sha256::State {
  struct Free {
    void operator()(EVP_MD_CTX* of) const noexcept { EVP_MD_CTX_free(of); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context{EVP_MD_CTX_new()};
  // OpenSSL may refuse any step (a provider that is missing, no memory); told once, at the end.
  bool good = context != nullptr && EVP_DigestInit_ex(context.get(), EVP_sha256(), nullptr) == 1;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;
Sha256::~Sha256() = default;

void Sha256::update(std::span<const std::byte> bytes) {
  State& state = *state_;
  state.good = state.good && EVP_DigestUpdate(state.context.get(), bytes.data(), bytes.size()) == 1;
}

Result<std::string> Sha256::finish() {
  State& state = *state_;
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (!state.good || EVP_DigestFinal_ex(state.context.get(), digest.data(), &size) != 1) {
    return Error{ErrorCode::kInternal, "OpenSSL could not compute a SHA-256", {}, {}, {}};
  }
  state.good = false;
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

Result<std::string> sha256_of(const RandomAccess& content) {
  Sha256 digest;
  std::vector<std::byte> block(std::size_t{1} << 20);
  for (std::uint64_t done = 0; done < content.size();) {
    const auto want =
        static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), content.size() - done));
    const auto got = content.read_at(done, std::span(block).first(want));
    if (!got) return got.error();
    if (*got == 0) {
      return Error{ErrorCode::kTruncated,
                   fmt::format("the bytes end after {} of {}", done, content.size()),
                   {},
                   {},
                   done};
    }
    digest.update(std::span(block).first(*got));
    done += *got;
  }
  return digest.finish();
}

bool is_sha256_hex(std::string_view text) noexcept {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace shardreel
