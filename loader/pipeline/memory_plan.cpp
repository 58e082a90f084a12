#include "loader/pipeline/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "loader/device/batch_uploads.h"
#include "loader/media/frame_geometry.h"
#include "loader/memory/block_pool.h"
#include "loader/memory/process_memory.h"
#include "loader/pipeline/lane_device.h"
#include "shardreel/units.h"

namespace shardreel {
namespace {

// What one open shard takes besides samples: libarchive's block and a pipe's buffer.
constexpr std::uint64_t kShardBuffers = 1_MiB + 256_KiB;
// Below these the pipeline would spool every member and decode nothing larger than a thumbnail.
constexpr std::uint64_t kLeastMember = 64_KiB;
constexpr std::uint64_t kLeastPackets = 1_MiB;
constexpr std::uint64_t kLeastDecoder = 8_MiB;
// In the packets' domain: the part of the shuffle that holds decoded clips, and the part of the
// packet tier that one unit may take.
constexpr std::uint64_t kPixelTierPart = 4;
constexpr std::uint64_t kUnitPart = 16;
// More read-ahead than this per lane has no use: decoding is a hundred times slower than reading.
constexpr std::uint64_t kMostEncoded = 512_MiB;

// More bytes in flight than this, a lane, have no use.
constexpr std::uint64_t kMostRemote = 128_MiB;
// A stream's ranges and a connection's buffer at their smallest, and the most that is of use.
constexpr std::uint64_t kLeastStream = 256_KiB;
constexpr std::uint64_t kMostStream = 16_MiB;
constexpr std::uint64_t kLeastConnection = 16_KiB;
constexpr std::uint64_t kMostConnection = 256_KiB;

bool reads_remote(const InputOptions& input) {
  return std::ranges::any_of(input.urls, may_be_remote);
}

/// What reading over the network takes at least, a lane.
std::uint64_t least_remote(const InputOptions& input) {
  if (!reads_remote(input)) return 0;
  return input.open_shards * kLeastStream + input.connections * kLeastConnection;
}

/// Share out `bytes` (at least the least) of a lane among streams, pages and connections.
RemoteShape shape_remote(const LoaderOptions& options, std::uint64_t lanes, std::uint64_t bytes) {
  const InputOptions& input = options.input;
  RemoteShape shape{0, 0, 0, 0, 0};
  if (!reads_remote(input)) return shape;
  const std::uint64_t spare = bytes - least_remote(input);
  shape.streams = lanes * input.open_shards;
  shape.connections = lanes * input.connections;
  shape.connection_bytes =
      std::min(kMostConnection, kLeastConnection + spare / 8 / input.connections / 4096 * 4096);
  const std::uint64_t pages =
      std::min<std::uint64_t>(input.open_videos, spare / 8 / RemoteShape::kPageBytes);
  shape.pages = lanes * pages;
  shape.stream_bytes = std::min(
      kMostStream, kLeastStream + spare / 4 * 3 / input.open_shards / kLeastStream * kLeastStream);
  return shape;
}

/// Options can ask for anything: what does not fit 64 bits is "more than any machine has".
constexpr std::uint64_t kImpossible = std::uint64_t{1} << 60;
std::uint64_t product(std::uint64_t a, std::uint64_t b) {
  return std::min(checked_mul(a, b).value_or(kImpossible), kImpossible);
}

/// Clips of one video that hold memory at one time: windows that overlap.
std::uint64_t open_clips(const WindowOptions& window) {
  const std::uint64_t span = (std::uint64_t{window.num_frames} - 1) * window.frame_step + 1;
  const std::uint64_t stride = std::max<std::uint64_t>(1, window.stride());
  return (span + stride - 1) / stride;
}

}  // namespace

std::uint64_t elements_per_clip(const LoaderOptions& options) {
  return slot_bytes(options.transform) * options.window.num_frames;
}

Result<std::uint64_t> resolve_share(std::string_view name, const std::string& text,
                                    std::uint64_t whole) {
  if (!text.ends_with('%')) return parse_bytes(text);
  double percent = 0;
  const char* end = text.data() + text.size() - 1;
  const auto [stopped, status] = std::from_chars(text.data(), end, percent);
  if (status != std::errc{} || stopped != end || !(percent > 0 && percent <= 100)) {
    return Error{ErrorCode::kInvalidOption,
                 fmt::format("{} '{}' is not a percentage above 0 and up to 100", name, text),
                 {},
                 {},
                 {}};
  }
  return static_cast<std::uint64_t>(static_cast<double>(whole) * percent / 100);
}

Result<std::uint64_t> resolve_memory_bytes(const std::string& text, std::uint32_t local_ranks) {
  if (!text.ends_with('%')) return parse_bytes(text);
  const auto bytes = resolve_share("memory_bytes", text, usable_memory());
  if (!bytes) return bytes;
  return *bytes / std::max<std::uint32_t>(1, local_ranks);
}

Result<MemoryPlan> make_memory_plan(const LoaderOptions& options) {
  MemoryPlan plan;
  const auto memory = resolve_memory_bytes(options.resource.memory_bytes, 1);
  if (!memory) return memory.error();
  plan.memory_bytes = *memory;
  plan.lanes = std::max<std::size_t>(1, options.resource.devices.size());
  plan.clip_bytes = BlockPool::block_bytes_for(elements_per_clip(options));
  plan.batch_bytes =
      BlockPool::block_bytes_for(elements_per_clip(options) *
                                 element_bytes(options.transform.dtype) * options.batch.batch_size);
  plan.lane_batches = options.batch.prefetch_batches + options.batch.held_batches;
  plan.on_gpus = std::ranges::any_of(options.resource.devices, is_gpu);
  plan.lane_host_batches = plan.on_gpus ? BatchUploads::kStagingBlocks : plan.lane_batches;
  plan.open_clips = open_clips(options.window);

  const bool shuffles = options.batch.shuffle == ShuffleMode::kAll;
  const bool half = options.resource.shuffle_bytes.empty();
  std::uint64_t shuffle = 0;
  if (shuffles && half) shuffle = plan.memory_bytes / 2;
  if (shuffles && !half) {
    const auto given = parse_bytes(options.resource.shuffle_bytes);
    if (!given) return given.error();
    shuffle = *given;
  }
  plan.lane_shuffle_bytes = shuffle / plan.lanes;
  if (options.resource.shuffle_domain == ShuffleDomain::kPackets && shuffles) {
    // Clips of one unit leave the packet tier together; the pixel tier takes them apart. A unit of
    // one clip needs none.
    const std::uint64_t pixels =
        options.window.windows_per_video == 1 ? 0 : plan.lane_shuffle_bytes / kPixelTierPart;
    plan.lane_packet_tier_bytes = plan.lane_shuffle_bytes - pixels;
    plan.lane_shuffle_bytes = pixels;
    plan.most_unit_bytes = plan.lane_packet_tier_bytes / kUnitPart;
  }

  const std::uint64_t shards = options.input.open_shards;
  const std::uint64_t videos = options.input.open_videos;
  const std::uint64_t members = 2 * shards + videos;
  // What leaves the packet tier waits for a decoder here, and what enters is read here.
  const std::uint64_t least_packets = std::max(kLeastPackets, plan.most_unit_bytes);
  const std::uint64_t least_encoded =
      shards * kShardBuffers + least_remote(options.input) + members * kLeastMember + least_packets;
  const std::uint64_t least_decode = kLeastDecoder + product(plan.open_clips, plan.clip_bytes);
  const std::uint64_t batches = product(plan.lanes * plan.lane_host_batches, plan.batch_bytes);
  const std::uint64_t least_rest = product(plan.lanes, least_encoded + least_decode);
  // A clip that does not stay on its GPU comes down through one of its decode thread, and one that
  // has to leave its lane's room there through one of the lane.
  if (gpus_decode(options.resource)) {
    const std::uint64_t rooms = plan.on_gpus ? plan.lanes : 0;
    plan.pinned_bytes = product(options.resource.decode_threads + rooms, plan.clip_bytes);
  }
  const std::uint64_t fixed = batches + plan.pinned_bytes + least_rest;
  plan.smallest_bytes = fixed + shuffle;
  if (shuffles && half) {
    // The tier's largest unit grows with memory_bytes, by a sixteenth of the half at most.
    const std::uint64_t constant = fixed - plan.lanes * (least_packets - kLeastPackets);
    plan.smallest_bytes = plan.most_unit_bytes == 0
                              ? 2 * fixed
                              : product(2 * kUnitPart, constant) / (kUnitPart - 1) + 1;
  }
  if (plan.smallest_bytes > plan.memory_bytes) {
    return Error{ErrorCode::kMemory,
                 fmt::format("memory_bytes {} is not enough: these options need {} ({} bytes): "
                             "batches {}, shuffle buffer {}, reading and decoding at least {}. "
                             "Give that much, or lower shuffle_bytes, batch_size or num_frames",
                             format_bytes(plan.memory_bytes), format_bytes(plan.smallest_bytes),
                             plan.smallest_bytes, format_bytes(batches),
                             half && shuffles ? "half of memory_bytes" : format_bytes(shuffle),
                             format_bytes(least_rest)),
                 {},
                 {},
                 {}};
  }

  const std::uint64_t rest =
      (plan.memory_bytes - batches - plan.pinned_bytes - shuffle) / plan.lanes;
  const std::uint64_t most_encoded =
      std::max(least_encoded, std::min(kMostEncoded, rest - least_decode));
  const std::uint64_t encoded = std::clamp(rest / 4, least_encoded, most_encoded);
  plan.lane_decode_bytes = rest - encoded;
  // A quarter of what is to spare goes to bytes in flight.
  const std::uint64_t remote =
      least_remote(options.input) + std::min(kMostRemote, (encoded - least_encoded) / 4);
  plan.remote = shape_remote(options, plan.lanes, remote);
  const std::uint64_t buffered =
      encoded - shards * kShardBuffers - plan.remote.total_bytes() / plan.lanes;
  plan.packet_bytes = std::max(least_packets, buffered / 4);
  // Whole pages: what is mapped for a member never exceeds its part.
  const std::uint64_t member = (buffered - plan.packet_bytes) / members / 4096 * 4096;
  plan.inline_bytes = std::min(options.input.member_inline_bytes, member);
  plan.shard_bytes = 2 * member;
  plan.video_bytes = videos * member;
  return plan;
}

std::vector<PlanRow> MemoryPlan::rows(const LoaderOptions& options) const {
  const std::uint64_t shards = options.input.open_shards;
  std::vector<PlanRow> rows = {
      {"batches", lanes * lane_host_batches * batch_bytes,
       on_gpus ? fmt::format("{} lanes x {} pinned on their way to the GPU x {}", lanes,
                             lane_host_batches, format_bytes(batch_bytes))
               : fmt::format("{} lanes x (prefetch_batches {} + held_batches {}) x {}", lanes,
                             options.batch.prefetch_batches, options.batch.held_batches,
                             format_bytes(batch_bytes))},
      {"packet tier", lanes * lane_packet_tier_bytes,
       fmt::format("compressed units of up to {} that wait to be drawn",
                   format_bytes(most_unit_bytes))},
      {"shuffle", lanes * lane_shuffle_bytes,
       fmt::format("{} clips of {}", lanes * (lane_shuffle_bytes / clip_bytes),
                   format_bytes(clip_bytes))},
      {"read ahead", lanes * shards * (shard_bytes + kShardBuffers),
       fmt::format("{} open shards a lane; members up to {} are read whole", shards,
                   format_bytes(inline_bytes))},
      {"open videos", lanes * video_bytes,
       fmt::format("{} open videos a lane", options.input.open_videos)},
      {"packets", lanes * packet_bytes, "units that wait to be decoded"},
      {"decode", lanes * lane_decode_bytes,
       fmt::format("decoders, their frames, and clips being made ({} decode threads)",
                   options.resource.decode_threads)},
  };
  if (pinned_bytes > 0) {
    rows.push_back({"pinned clips", pinned_bytes,
                    fmt::format("on their way down from a GPU: {} decode threads and {} lanes x {}",
                                options.resource.decode_threads, on_gpus ? lanes : 0,
                                format_bytes(clip_bytes))});
  }
  if (remote.streams > 0) {
    rows.push_back({"network", remote.total_bytes(),
                    fmt::format("ranges of {} a shard in flight, {} pages of {}, {} connections",
                                format_bytes(remote.stream_bytes), remote.pages,
                                format_bytes(RemoteShape::kPageBytes), remote.connections)});
  }
  return rows;
}

}  // namespace shardreel
