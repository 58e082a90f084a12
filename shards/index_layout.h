#pragma once
// The parts of an index file that its writer and its reader agree on; docs/format.md explains them.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "shardreel/shard_index.h"

namespace shardreel {

// The first byte is no text and the line ends change in a transfer as text, as in PNG.
constexpr std::string_view kIndexMagic = "\x89SRIDX\r\n";
constexpr std::uint32_t kIndexVersion = 2;
constexpr std::uint32_t kIndexSeekable = 1;  ///< flag: offsets lead into the shard's file
constexpr std::size_t kIndexHeaderBytes = 72;
constexpr std::size_t kIndexHeaderHashed = kIndexHeaderBytes - 8;
constexpr std::size_t kIndexVersionEnd = 12;
/// No row of the directory is shorter.
constexpr std::size_t kIndexRowBytes = 8;

// Bits of a field.
constexpr std::uint64_t kFieldScattered = 1;  ///< sparse: its content does not lie in one piece
constexpr std::uint64_t kFieldRenamed = 2;    ///< the name as written follows

// Bits of a profile.
constexpr std::uint64_t kProfileMirror = 1, kProfileConstantRate = 2, kProfileDirect = 4;

// What follows the fields of a row.
constexpr std::uint64_t kRowFailed = 0, kRowVideo = 1;

/// The end of a member's content with its padding, from which the next one's offset is told.
constexpr std::uint64_t padded_end(std::uint64_t content_offset, std::uint64_t size) {
  constexpr std::uint64_t kBlock = 512;
  return content_offset + (size + (kBlock - 1)) / kBlock * kBlock;
}

std::uint64_t index_hash(std::string_view bytes);

}  // namespace shardreel
