#pragma once
// Packets whose places in the source are known, read without a demuxer.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "loader/demux/packet_index.h"
#include "loader/demux/unit.h"
#include "loader/demux/unit_packets.h"
#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace shardreel {

/// Reads packets by their places. Neighbours are read in one go; what lies between them is read
/// only where it is less than a sixty-fourth of them. Immutable: safe to use from many threads.
class DirectPackets {
 public:
  /// `offsets`: of each packet's bytes in `source`, as many as `index` has packets.
  DirectPackets(std::shared_ptr<const RandomAccess> source,
                std::shared_ptr<const PacketIndex> index, std::vector<std::uint64_t> offsets)
      : source_(std::move(source)), index_(std::move(index)), offsets_(std::move(offsets)) {}

  /// Read the packets with these numbers, ascending. All or an error: kTruncated where the source
  /// ends before.
  [[nodiscard]] Result<std::vector<AVPacketPtr>> read(std::span<const std::uint32_t> numbers) const;

  [[nodiscard]] std::uint32_t size_of(std::uint32_t number) const {
    return index_->packets()[number].size;
  }
  [[nodiscard]] std::uint64_t memory_bytes() const noexcept {
    return offsets_.capacity() * sizeof(std::uint64_t);
  }

 private:
  Result<void> read_run(std::span<const std::uint32_t> numbers, std::vector<std::byte>& scratch,
                        std::vector<AVPacketPtr>& packets) const;
  Result<void> fill(std::uint64_t offset, std::span<std::byte> into, std::uint32_t number) const;

  std::shared_ptr<const RandomAccess> source_;
  std::shared_ptr<const PacketIndex> index_;  // shared with the video and its units
  std::vector<std::uint64_t> offsets_;
};

/// Give packets that are read when they are asked for, about a mebibyte ahead.
std::unique_ptr<PacketReader> packets_by_place(std::shared_ptr<const DirectPackets> direct,
                                               PacketChoice choice);

}  // namespace shardreel
