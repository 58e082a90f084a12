#include "loader/demux/packet_record.h"

#include <array>

namespace shardreel {
namespace {

struct Bit {
  bool PacketTraits::*trait;
  unsigned shift;
};
constexpr std::array<Bit, 7> kTraitBits{{{&PacketTraits::droppable, 2},
                                         {&PacketTraits::skipped_leading, 3},
                                         {&PacketTraits::sequence_end, 4},
                                         {&PacketTraits::parameter_sets, 5},
                                         {&PacketTraits::field, 6},
                                         {&PacketTraits::bottom, 7},
                                         {&PacketTraits::packed, 8}}};
constexpr unsigned kDiscard = 9, kKey = 10, kLayer = 11, kShown = 16;
constexpr std::uint32_t kStartMask = 3, kLayerMask = 7, kShownMask = 255;
constexpr std::uint32_t kUnused = 0xff00c000u;

static_assert(kNoTime == kNoTimestamp);

}  // namespace

PacketRecord packet_record(const PacketEntry& entry, std::uint64_t offset) {
  PacketRecord record{entry.pts, entry.dts, offset, entry.size, 0};
  const PacketTraits& traits = entry.traits;
  record.flags = static_cast<std::uint32_t>(traits.start);
  for (const Bit& bit : kTraitBits)
    record.flags |= static_cast<std::uint32_t>(traits.*bit.trait) << bit.shift;
  record.flags |= static_cast<std::uint32_t>(entry.discard) << kDiscard;
  record.flags |= static_cast<std::uint32_t>(entry.key) << kKey;
  record.flags |= (traits.temporal_layer & kLayerMask) << kLayer;
  record.flags |= static_cast<std::uint32_t>(traits.shown) << kShown;
  return record;
}

std::optional<PacketEntry> packet_entry(const PacketRecord& record) {
  const std::uint32_t start = record.flags & kStartMask;
  if (start > static_cast<std::uint32_t>(RandomAccessPoint::kClosed)) return std::nullopt;
  if ((record.flags & kUnused) != 0) return std::nullopt;
  PacketEntry entry;
  entry.pts = record.pts;
  entry.dts = record.dts;
  entry.size = record.size;
  entry.discard = ((record.flags >> kDiscard) & 1) != 0;
  entry.key = ((record.flags >> kKey) & 1) != 0;
  entry.traits.start = static_cast<RandomAccessPoint>(start);
  for (const Bit& bit : kTraitBits)
    entry.traits.*bit.trait = ((record.flags >> bit.shift) & 1) != 0;
  entry.traits.temporal_layer = static_cast<std::uint8_t>((record.flags >> kLayer) & kLayerMask);
  entry.traits.shown = static_cast<std::uint8_t>((record.flags >> kShown) & kShownMask);
  return entry;
}

}  // namespace shardreel
