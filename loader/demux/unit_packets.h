#pragma once
// The packets of a unit, held in memory or read while they are decoded.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loader/demux/demuxer.h"
#include "loader/demux/packet_index.h"
#include "loader/demux/unit.h"

namespace shardreel {

/// Which packets of [begin, begin + keep.size()) a unit needs.
struct PacketChoice {
  std::uint32_t begin = 0;
  std::vector<bool> keep;
  [[nodiscard]] std::uint32_t end() const {
    return begin + static_cast<std::uint32_t>(keep.size());
  }
};

/// Give packets that are held in memory.
std::unique_ptr<PacketReader> packets_in_memory(std::vector<AVPacketPtr> packets);

/// A demuxer that knows which packet comes next.
class PacketCursor {
 public:
  PacketCursor(std::shared_ptr<const RandomAccess> source, std::string field,
               std::shared_ptr<const PacketIndex> index, std::uint64_t most_pixels)
      : source_(std::move(source)),
        field_(std::move(field)),
        index_(std::move(index)),
        most_pixels_(most_pixels) {}

  /// Go to packet `target`, or somewhere before it; opens the demuxer where needed. Jumps only
  /// where the container has an exact index and the jump was checked against the packet table.
  Result<void> approach(std::uint32_t target);
  /// Read the next packet; false at the end.
  Result<bool> next(AVPacket& packet);
  /// Number of the packet that `next` gives.
  [[nodiscard]] std::uint32_t position() const noexcept { return position_; }

 private:
  Result<void> reopen();
  Result<bool> jump(std::uint32_t target);

  std::shared_ptr<const RandomAccess> source_;
  std::string field_;
  std::shared_ptr<const PacketIndex> index_;  // shared with the video and its other units
  std::uint64_t most_pixels_;                 ///< of `Demuxer::open`
  std::unique_ptr<Demuxer> demuxer_;
  AVPacketPtr landed_;  ///< read already, to see where a jump ended
  std::uint32_t position_ = 0;
  bool may_jump_ = true;  ///< until a jump led nowhere: then this video is read in order
};

/// Give packets that this cursor, which was not used yet, reads when they are asked for.
std::unique_ptr<PacketReader> packets_from_source(PacketCursor cursor, PacketChoice choice);

}  // namespace shardreel
