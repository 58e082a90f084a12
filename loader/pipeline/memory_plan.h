#pragma once
// From options to byte shares, before anything starts.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "loader/read/http/remote_shape.h"
#include "shardreel/error.h"
#include "shardreel/loader.h"
#include "shardreel/options.h"

namespace shardreel {

/// Disjoint shares of `memory_bytes`; those marked "lane" are per lane. Decides nothing about
/// order: the shuffle's share is an option, the others only say how far ahead is read and decoded.
struct MemoryPlan {
  std::uint64_t memory_bytes = 0;
  std::uint64_t lanes = 1;
  std::uint64_t clip_bytes = 0;   ///< of one clip's block, whole pages
  std::uint64_t batch_bytes = 0;  ///< of one batch's block, whole pages

  std::uint64_t lane_shuffle_bytes = 0;      ///< of the pixel tier
  std::uint64_t lane_packet_tier_bytes = 0;  ///< 0 where the shuffle holds frames only
  std::uint64_t most_unit_bytes = 0;         ///< of a unit that waits in the packet tier
  std::uint64_t lane_batches = 0;            ///< buffers, on the lane's device
  std::uint64_t lane_host_batches = 0;       ///< buffers in host memory: pinned, for a GPU's lane
  bool on_gpus = false;                      ///< batches are in GPUs' memory
  std::uint64_t shard_bytes = 0;             ///< lane: read ahead per open shard
  std::uint64_t video_bytes = 0;             ///< lane: of all open videos
  std::uint64_t packet_bytes = 0;            ///< lane: of units that wait to be decoded
  std::uint64_t lane_decode_bytes = 0;       ///< decoders, their frames, and clips being made
  std::uint64_t inline_bytes = 0;            ///< members up to this are read whole
  std::uint64_t open_clips = 1;              ///< clips of one video that are being made at one time
  RemoteShape remote;                        ///< of the process; `streams` 0 when nothing is remote
  std::uint64_t pinned_bytes = 0;            ///< of clips on their way down from a GPU
  std::uint64_t smallest_bytes = 0;  ///< the least memory_bytes that these options can run with

  [[nodiscard]] std::vector<PlanRow> rows(const LoaderOptions& options) const;
};

/// What a clip takes besides pixels and fields, before and after it is decoded: frame numbers and
/// times, and the nodes that hold them.
constexpr std::uint64_t window_facts_bytes(std::uint64_t num_frames) {
  return 768 + 48 * num_frames;
}

/// Of a clip's tensor: its bytes before a batch gives them another type.
[[nodiscard]] std::uint64_t elements_per_clip(const LoaderOptions& options);

/// Resolve "2GiB" or "25%" of `whole`; `name` is the option that says so.
Result<std::uint64_t> resolve_share(std::string_view name, const std::string& text,
                                    std::uint64_t whole);

/// Resolve "2GiB" or "25%" (of the cgroup's limit, else of the machine, divided by local ranks).
Result<std::uint64_t> resolve_memory_bytes(const std::string& text, std::uint32_t local_ranks);

/// Plan for valid options whose sizes are resolved to bytes. kMemory names the figure that would
/// do.
Result<MemoryPlan> make_memory_plan(const LoaderOptions& options);

}  // namespace shardreel
