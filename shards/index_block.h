#pragma once
// A video's block in an index: its decoder parameters, keyframes and packets, packed.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardreel/video_record.h"

namespace shardreel {

struct PackedBlock {
  std::string stored;           ///< raw deflate, or the bytes as they are where that is no shorter
  std::uint64_t raw_bytes = 0;  ///< before deflate
};

/// What a block takes at least before it is packed: one byte for each number of the tables.
constexpr std::uint64_t kPacketColumns = 5;
constexpr std::uint64_t kKeyframeColumns = 4;

PackedBlock pack_block(const VideoRecord& video, std::span<const PacketRecord> packets);

/// Whether a block of these sizes can hold that many: checked before anything is allocated.
bool block_is_possible(std::uint64_t stored_bytes, std::uint64_t raw_bytes, std::uint64_t packets,
                       std::uint64_t keyframes);

/// Fill in keyframes, parameters and packets; false when the bytes are not those of such a block.
/// `video.packet_count` and the sizes have passed `block_is_possible`.
bool unpack_block(std::string_view stored, std::uint64_t raw_bytes, std::uint64_t keyframes,
                  VideoRecord& video, std::vector<PacketRecord>& packets);

}  // namespace shardreel
