#pragma once
// How long to wait before asking again, and when to give up: pure.

#include <chrono>
#include <cstdint>
#include <optional>

#include "loader/base/random.h"

namespace shardreel {

struct RetryPolicy {
  std::uint32_t retries = 8;  ///< attempts after the first, while no bytes come
  std::chrono::milliseconds first_wait{100};
  std::chrono::milliseconds longest_wait{20'000};
  std::chrono::milliseconds deadline{3'600'000};  ///< of one range, and of all waits for a shard

  /// The wait before attempt `attempt` + 1 (the first is 1): doubled each time, between a half and
  /// all of it by `random_bits`, never less than the server asked for.
  [[nodiscard]] std::chrono::milliseconds wait_after(
      std::uint32_t attempt, std::uint64_t random_bits,
      std::optional<std::chrono::milliseconds> retry_after) const {
    std::chrono::milliseconds wait = first_wait;
    for (std::uint32_t i = 1; i < attempt && wait < longest_wait; ++i) wait *= 2;
    wait = wait < longest_wait ? wait : longest_wait;
    const double part = 0.5 + 0.5 * unit_interval(random_bits);
    wait = std::chrono::milliseconds(
        static_cast<std::int64_t>(static_cast<double>(wait.count()) * part));
    return retry_after && *retry_after > wait ? *retry_after : wait;
  }
};

}  // namespace shardreel
