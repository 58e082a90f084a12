#include "loader/pipeline/packet_tier.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "loader/demux/packed_packets.h"

namespace shardreel {
namespace {

// The job, its lists' nodes, the stream's parameters (shared by a video's units, which may all be
// gone but one).
constexpr std::uint64_t kUnitBytes = 2048;

}  // namespace

PacketTier::PacketTier(const LoaderOptions& options, const MemoryPlan& plan, MemoryLedger& ledger,
                       BlockPool& pages, Counters& counters)
    : num_frames_(options.window.num_frames),
      most_unit_bytes_(plan.most_unit_bytes),
      pages_(pages),
      counters_(counters),
      share_(ledger, "packet tier", plan.lane_packet_tier_bytes),
      order_(tier_order_options(options, plan)) {}

std::uint64_t PacketTier::item_bytes(const UnitOutline& unit, const SampleFields& sample) const {
  const std::uint64_t pages = packed_bytes(unit.packets, unit.payload_bytes);
  return pages + pages / kPacketPageBytes * sizeof(Block) + kUnitBytes + sample.bytes() +
         unit.clips * window_facts_bytes(num_frames_);
}

bool PacketTier::takes(const UnitOutline& unit, const SampleFields& sample) const {
  return unit.clips > 0 &&
         std::max(item_bytes(unit, sample), unit.packet_bytes()) <= most_unit_bytes_;
}

Result<void> PacketTier::pack(UnitJob& job, std::uint64_t item_bytes) {
  auto room = share_.try_reserve(item_bytes, MemoryTag::kPackets);
  if (!room) {
    return Error{.code = ErrorCode::kInternal,
                 .message = "the packet tier's share does not hold what its order does"};
  }
  auto packed = pack_packets(*job.unit.packets, pages_, item_bytes);
  if (!packed) return std::move(packed.error());
  job.unit.packets = std::move(*packed);
  job.packets = std::move(*room);
  return {};
}

void PacketTier::put(const ClipId& id, std::shared_ptr<UnitJob> job, std::uint64_t item_bytes) {
  if (!job->done) {
    if (auto packed = pack(*job, item_bytes); !packed) {
      packed.error().at(job->sample->context.sample->shard, job->sample->context.sample->key);
      job->lose(packed.error());
    }
  }
  counters_.enter_shuffle(job->clips());
  held_.emplace(id, std::move(job));
}

std::shared_ptr<UnitJob> PacketTier::take(const ClipId& id) {
  const auto held = held_.find(id);
  auto job = std::move(held->second);
  held_.erase(held);
  counters_.leave_shuffle(job->clips());
  return job;
}

std::uint64_t PacketTier::clear() {
  std::uint64_t clips = 0;
  for (const auto& [id, job] : held_) clips += job->clips();
  counters_.leave_shuffle(clips);
  held_.clear();
  order_.begin(0);
  return clips;
}

}  // namespace shardreel
