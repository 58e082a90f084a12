#pragma once
// A packet's role in decoding as the bits of `PacketRecord::flags`, and back.
//
//   bit     meaning (`PacketTraits`, `PacketEntry`)
//   0-1     how decoding can start here: 0 not, 1 open, 2 closed
//   2       droppable: no other packet needs it
//   3       skipped leading picture (HEVC RASL)
//   4       end of a sequence
//   5       carries parameter sets that the container lacks
//   6, 7    one field of a frame; the bottom one
//   8       packed: two pictures (MPEG-4)
//   9       discard: decoded when needed, never shown (edit list)
//   10      the container calls it a keyframe
//   11-13   temporal layer (HEVC)
//   16-23   frames that decoding it shows
//   14-15, 24-31   zero
//
// They are what the packet alone says, before `PacketIndex` settles what its neighbours change.

#include <cstdint>
#include <optional>

#include "loader/demux/packet_index.h"
#include "shardreel/video_record.h"

namespace shardreel {

/// The record of a packet whose bytes lie at `offset` of the field's content.
PacketRecord packet_record(const PacketEntry& entry, std::uint64_t offset);

/// The entry that a record was made of; nothing when no packet has such flags.
std::optional<PacketEntry> packet_entry(const PacketRecord& record);

}  // namespace shardreel
