#pragma once
// The packets of a unit that waits: their bytes in pages of a pool, not in the heap. Thousands of
// units of a few packets each, freed in random order, would leave the heap full of holes.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "loader/demux/unit.h"
#include "loader/memory/block_pool.h"
#include "shardreel/error.h"

namespace shardreel {

/// Bytes of a page. Small, because a unit wastes half of one; a packet may lie across several.
inline constexpr std::size_t kPacketPageBytes = 4096;

/// Return the pages' bytes that `packets` packets with `bytes` of payload take together.
[[nodiscard]] std::uint64_t packed_bytes(std::uint64_t packets, std::uint64_t bytes);

/// Copy what is left in `from` into pages of the pool; the result owns them and gives the same
/// packets in the same order. Takes at most `most_bytes` of pages (what was reserved); more, or a
/// pool without free pages, is kInternal.
Result<std::unique_ptr<PacketReader>> pack_packets(PacketReader& from, BlockPool& pages,
                                                   std::uint64_t most_bytes);

}  // namespace shardreel
