#include "loader/pipeline/gpu_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "loader/decode/session_bytes.h"
#include "loader/device/batch_uploads.h"
#include "loader/media/device_frame_converter.h"
#include "loader/pipeline/lane_device.h"
#include "loader/read/open_index.h"
#include "shardreel/units.h"

namespace shardreel {
namespace {

/// A session, and which videos it is for.
struct Sessions {
  std::uint64_t bytes = 0;  ///< of one; 0 = the GPU decodes none, or nobody knows
  std::string of;           ///< "1920x1080 h264"
  std::string videos;
};

std::string describe(const VideoKind& kind) {
  return fmt::format("{}x{} {}{}{}", kind.width, kind.height, kind.codec,
                     kind.pixel_format.empty() ? "" : " ", kind.pixel_format);
}

Result<Sessions> sessions_of_assumed(const AssumedVideo& video) {
  const VideoKind kind{video.codec, video.width, video.height,
                       video.bits > 8 ? "yuv420p10le" : "yuv420p"};
  const auto bytes = session_bytes(kind);
  if (!bytes) return bytes.error();
  const std::string of = describe(kind);
  if (!*bytes) return Sessions{0, of, fmt::format("assumed: {}, which the CPU decodes", of)};
  return Sessions{**bytes, of, fmt::format("assumed: {}", of)};
}

/// The one that takes most of all videos that the indexes have.
Result<Sessions> sessions_of_indexes(const LoaderOptions& options, const ShardList& shards) {
  Sessions most;
  std::uint64_t videos = 0, on_cpu = 0;
  for (std::uint64_t s = 0; s < shards.size(); ++s) {
    const auto opened = fresh_index(shards.at(s), options.input.index_dir);
    if (!opened) return opened.error();
    const ShardIndex& index = opened->index;
    for (std::uint64_t i = 0; i < index.count(); ++i) {
      const auto video = index.video(i);
      if (!video) continue;
      ++videos;
      const VideoKind kind{video->codec, video->coded_width, video->coded_height,
                           video->pixel_format};
      const auto bytes = session_bytes(kind);
      if (!bytes || !*bytes) {
        ++on_cpu;
      } else if (**bytes > most.bytes) {
        most = {**bytes, describe(kind), {}};
      }
    }
  }
  most.videos = fmt::format("the largest of {} videos in the index{}", videos,
                            most.bytes == 0 ? "es: none that a GPU decodes" : ": " + most.of);
  if (most.bytes != 0 && on_cpu != 0)
    most.videos += fmt::format("; {} are of codecs that the CPU decodes", on_cpu);
  return most;
}

Sessions unknown_sessions(const Error& why) {
  return {0,
          {},
          fmt::format("not known: {}; an index or --assume-video 1920x1080:h264 gives a figure",
                      why.describe())};
}

}  // namespace

Result<GpuPlan> plan_gpus(const LoaderOptions& options, const MemoryPlan& plan,
                          const ShardList& shards, const std::optional<AssumedVideo>& assumed) {
  GpuPlan gpus;
  const bool decodes = gpus_decode(options.resource);
  const std::uint64_t batches = BatchUploads::device_bytes(plan.batch_bytes, plan.lane_batches);
  if (plan.on_gpus) {
    gpus.rows.push_back(
        {"batches", batches,
         fmt::format("(prefetch_batches {} + held_batches {}) x {}", options.batch.prefetch_batches,
                     options.batch.held_batches, format_bytes(plan.batch_bytes))});
  }
  std::optional<Sessions> of_assumed;
  if (assumed) {  // said wrong is said wrong, also where it changes nothing
    auto sessions = sessions_of_assumed(*assumed);
    if (!sessions) return sessions.error();
    of_assumed = std::move(*sessions);
  }
  if (!decodes) {
    if (plan.on_gpus || assumed) gpus.videos = "none: decode is cpu";
    return gpus;
  }
  const std::uint64_t devices = plan.on_gpus ? plan.lanes : 1;
  // Threads take the GPUs in turn.
  const std::uint64_t threads = (options.resource.decode_threads + devices - 1) / devices;
  if (!of_assumed) {
    auto found = sessions_of_indexes(options, shards);
    of_assumed = found ? std::move(*found) : unknown_sessions(found.error());
  }
  gpus.videos = of_assumed->videos;
  if (of_assumed->bytes != 0) {
    gpus.rows.push_back({"decoders", threads * of_assumed->bytes,
                         fmt::format("{} decode threads x {} for a session of {}", threads,
                                     format_bytes(of_assumed->bytes), of_assumed->of)});
  }
  const std::uint64_t way = device_converter_bytes(options.transform, options.window.num_frames);
  gpus.rows.push_back({"conversion", threads * way,
                       fmt::format("{} decode threads x {}: a clip on its way to the host, filters",
                                   threads, format_bytes(way))});
  // A percentage is of a GPU that need not be here.
  const auto budget = parse_bytes(options.resource.gpu_memory_bytes);
  if (plan.on_gpus && budget) {
    gpus.rows.push_back(
        {"clips", device_clip_bytes(*budget, batches),
         "wait there for their batch: half of what gpu_memory_bytes leaves beside the batches"});
  }
  return gpus;
}

}  // namespace shardreel
