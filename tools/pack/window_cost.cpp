#include "tools/pack/window_cost.h"

#include <algorithm>
#include <vector>

#include "loader/demux/packet_index.h"

namespace shardreel::tools {

WindowCost window_cost(const PacketIndex& index, std::int64_t window_frames) {
  const auto packets = index.packets();
  WindowCost cost;
  cost.window_frames = std::min(window_frames, index.frame_count());
  if (cost.window_frames <= 0) return cost;
  const std::int64_t windows = index.frame_count() - cost.window_frames + 1;
  if (index.by_count()) {  // everything is decoded, from the first packet on
    const auto mean = static_cast<double>(packets.size());
    return {cost.window_frames, mean, mean};
  }
  // needed[i]: packets before i that others need.
  std::vector<std::int64_t> needed(packets.size() + 1, 0);
  for (std::size_t i = 0; i < packets.size(); ++i)
    needed[i + 1] = needed[i] + (packets[i].traits.droppable ? 0 : 1);
  std::int64_t decoded = 0, plain = 0;
  for (std::int64_t first = 0; first < windows; ++first) {
    std::uint32_t begin = UINT32_MAX, end = 0;
    std::int64_t wanted_droppable = 0;
    for (std::int64_t frame = first; frame < first + cost.window_frames; ++frame) {
      const std::uint32_t packet = index.packet_of(frame);
      begin = std::min(begin, index.start_of(packet));
      end = std::max(end, packet + 1);
      wanted_droppable += packets[packet].traits.droppable ? 1 : 0;
    }
    decoded += needed[end] - needed[begin] + wanted_droppable;
    plain += end - begin;
  }
  cost.decoded_frames = static_cast<double>(decoded) / static_cast<double>(windows);
  cost.plain_decoded_frames = static_cast<double>(plain) / static_cast<double>(windows);
  return cost;
}

}  // namespace shardreel::tools
