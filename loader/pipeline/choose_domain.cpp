#include "loader/pipeline/choose_domain.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <stop_token>
#include <utility>
#include <variant>

#include "loader/demux/packed_packets.h"
#include "loader/demux/video_file.h"
#include "loader/media/frame_geometry.h"
#include "loader/read/http/http_url.h"
#include "loader/read/open_source.h"
#include "loader/read/stoppable.h"
#include "loader/window/window_plan.h"
#include "shardreel/shard_reader.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kLookedAt = 16;  // samples
constexpr double kMostBytes = 0.25;      // of the clips', in packets
constexpr double kMostDecoded = 1.25;    // packets, over those of long units
constexpr double kMostTogether = 4;      // clips of a unit, which come out together

/// Sums over videos.
struct Cost {
  std::uint64_t clips = 0;
  std::uint64_t units = 0, packets = 0, bytes = 0;  ///< short ones, which the packet tier holds
  std::uint64_t packets_at_least = 0;  ///< of long units, which the frames' domain decodes
};

Result<Cost> cost_of(const Sample& sample, const Field& video, const LoaderOptions& options) {
  Cost cost;
  for (const UnitLength length : {UnitLength::kShort, UnitLength::kLong}) {
    auto file = VideoFile::open(video.content, {.field = video.name,
                                                .selective = true,
                                                .unit_clips = options.window.unit_clips,
                                                .unit_length = length});
    if (!file) return std::move(file.error());
    auto windows = plan_windows(file->facts().times(), options.window, options.batch.seed,
                                {0, 0, sample.ordinal, 0});
    if (!windows) return std::move(windows.error());
    const bool is_short = length == UnitLength::kShort;
    if (is_short) cost.clips = windows->size();
    file->plan_units(std::move(*windows));
    for (const UnitOutline& unit : file->outlines()) {
      (is_short ? cost.packets : cost.packets_at_least) += unit.packets;
      cost.units += is_short ? 1 : 0;
      if (is_short) cost.bytes += packed_bytes(unit.packets, unit.payload_bytes);
    }
  }
  return cost;
}

const Field* find_video(const Sample& sample, const InputOptions& input) {
  for (const std::string& name : input.video_fields) {
    if (const Field* field = sample.find(name)) return field;
  }
  return nullptr;
}

Cost look_at(std::unique_ptr<ByteStream> stream, const std::string& shard,
             const LoaderOptions& options) {
  ShardReaderOptions reading;
  reading.integrity = options.input.integrity;
  reading.member_inline_bytes = 0;  // ranges of the file, where that is possible
  reading.max_member_bytes = options.input.max_member_bytes;
  reading.spool_dir = options.input.spool_dir;
  ShardReader reader(std::move(stream), shard, reading);
  Cost all;
  for (std::uint64_t seen = 0; seen < kLookedAt; ++seen) {
    const ReadStep step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) break;
    const auto* sample = std::get_if<Sample>(&step);
    const Field* video = sample != nullptr ? find_video(*sample, options.input) : nullptr;
    if (video == nullptr) continue;
    const auto cost = cost_of(*sample, *video, options);
    if (!cost) continue;  // the run will report it
    all.clips += cost->clips;
    all.units += cost->units;
    all.packets += cost->packets;
    all.bytes += cost->bytes;
    all.packets_at_least += cost->packets_at_least;
  }
  return all;
}

}  // namespace

DomainChoice choose_domain(const LoaderOptions& options, const ShardList& shards,
                           const std::stop_token& stop) {
  const auto chosen = [](ShuffleDomain domain, const std::string& why) {
    return DomainChoice{domain,
                        fmt::format("shuffle_domain = auto is {}: {}",
                                    domain == ShuffleDomain::kPackets ? "packets" : "frames", why)};
  };
  if (options.batch.shuffle != ShuffleMode::kAll)
    return chosen(ShuffleDomain::kFrames, "no clips are shuffled");
  if (options.window.windows_per_video == 1)
    return chosen(ShuffleDomain::kPackets,
                  "with one window a video, decoding behind the shuffle costs nothing more");
  const std::string shard = shards.at(0);
  const bool local = shard.starts_with("file:") || shard.find("://") == std::string::npos;
  if (!local || may_block(shard))
    return chosen(
        ShuffleDomain::kFrames,
        fmt::format("the first shard, {}, cannot be looked at before the run", redacted(shard)));
  boost::asio::io_context loop;
  auto stream = open_source(shard, options.input, loop, nullptr, stop);
  if (!stream)
    return chosen(ShuffleDomain::kFrames,
                  "the first shard cannot be opened: " + stream.error().message);
  const Cost cost = look_at(stoppable(std::move(*stream), stop), shard, options);
  if (cost.clips == 0 || cost.packets_at_least == 0)
    return chosen(ShuffleDomain::kFrames,
                  fmt::format("the first {} samples of {} give no clips", kLookedAt, shard));
  const std::uint64_t clip_bytes = slot_bytes(options.transform) * options.window.num_frames;
  const double size = static_cast<double>(cost.bytes) / static_cast<double>(cost.clips) /
                      static_cast<double>(clip_bytes);
  const double decoded =
      static_cast<double>(cost.packets) / static_cast<double>(cost.packets_at_least);
  const double together = static_cast<double>(cost.clips) / static_cast<double>(cost.units);
  const std::string figures = fmt::format(
      "in the first {} samples of {}, packets take {:.3f} of the clips' bytes, {:.2f} times as "
      "many "
      "are decoded, and {:.1f} clips come out together",
      kLookedAt, shard, size, decoded, together);
  const bool packets = size <= kMostBytes && decoded <= kMostDecoded && together <= kMostTogether;
  return chosen(packets ? ShuffleDomain::kPackets : ShuffleDomain::kFrames, figures);
}

}  // namespace shardreel
