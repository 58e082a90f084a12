#pragma once
// How much memory reading over the network may hold.

#include <cstdint>
#include <string>
#include <string_view>

namespace shardreel {

/// All of it part of the encoded share. Decides nothing but speed. `streams` 0: nothing is remote.
struct RemoteShape {
  std::uint64_t streams = 1;                            ///< shards that are read at one time
  std::uint64_t stream_bytes = std::uint64_t{8} << 20;  ///< ranges of each, in flight or unread
  std::uint64_t pages = 8;                              ///< for reads on demand
  std::uint64_t connections = 16;
  std::uint64_t connection_bytes = std::uint64_t{256} << 10;  ///< libcurl's buffer of each

  static constexpr std::uint64_t kPageBytes = std::uint64_t{512} << 10;

  [[nodiscard]] std::uint64_t total_bytes() const {
    return streams * stream_bytes + pages * kPageBytes + connections * connection_bytes;
  }
};

/// Whether `url` has one of the schemes that are read over the network.
[[nodiscard]] bool is_remote(std::string_view url);

/// Whether a spec of the list of shards may name such URLs: a list file or a variable can.
[[nodiscard]] bool may_be_remote(const std::string& spec);

}  // namespace shardreel
