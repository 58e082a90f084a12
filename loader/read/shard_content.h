#pragma once
// What tells that a shard is still the one that it was, without reading it.

#include <cstdint>
#include <optional>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel {

/// A shard's content, as far as it is known. Neither its name nor its times are part of it: a copy
/// is the same, a shard that was written anew is not.
struct ShardContent {
  std::uint64_t size = 0;
  std::string etag;    ///< of an object over the network, where the server gives a strong one
  std::string sample;  ///< of a file: a hash of 64 KiB of it as hexadecimal digits

  /// Whether they cannot be the same. What only one of them knows says nothing.
  [[nodiscard]] bool differs(const ShardContent& other) const;
  [[nodiscard]] std::string describe() const;
};

/// Look at an opened shard; nothing for pipes and what else cannot be read by offset.
Result<std::optional<ShardContent>> look_at_content(const ByteStream& stream);

}  // namespace shardreel
