#pragma once
// What `feed` keeps of the clips of one lane: digests of their order and pixels, and lines of
// facts.

#include <xxhash.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "shardreel/batch.h"

namespace shardreel::tools {

/// A 128-bit hash in its canonical (big-endian) bytes.
using Digest = std::array<std::uint8_t, 16>;

[[nodiscard]] std::string hex(std::span<const std::uint8_t> bytes);

/// XXH3-128 over the delivered clips, in order. `order` takes of each clip: the shard's number in
/// the expanded list (8 bytes), so that the same data under other paths has the same digest; the
/// key after its length (8 bytes); the number of frame indices (8 bytes) and the indices (8 bytes
/// each); all integers little-endian. `pixels` takes the same and then the clip's bytes as they lie
/// in the batch.
class ClipDigests {
 public:
  /// `pixels`: whether bytes of clips are looked at, too; else `pixels()` has nothing.
  explicit ClipDigests(bool pixels = true);
  void add(const ClipInfo& clip, std::span<const std::byte> pixels);
  [[nodiscard]] Digest order() const;
  [[nodiscard]] std::optional<Digest> pixels() const;

 private:
  struct Free {
    void operator()(XXH3_state_t* state) const noexcept { XXH3_freeState(state); }
  };
  using State = std::unique_ptr<XXH3_state_t, Free>;
  State order_, pixels_;  // the second is null when not wanted
};

/// The digest of a run: XXH3-128 over its lanes' digests in lane order.
[[nodiscard]] Digest combine(std::span<const Digest> lanes);

/// One JSON line (with its line end): id, key, shard, lane, frame_indices, pts (seconds), xxh64 of
/// the pixels as in the batch. JSON holds text only: a key or shard that is not UTF-8 has U+FFFD
/// for each bad byte, and its exact bytes in hexadecimal beside it (`key_hex`, `shard_hex`).
[[nodiscard]] std::string clip_line(const ClipInfo& clip, std::size_t lane,
                                    std::span<const std::byte> pixels);

}  // namespace shardreel::tools
