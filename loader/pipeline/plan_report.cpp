#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>

#include "loader/pipeline/epoch_length.h"
#include "loader/pipeline/gpu_plan.h"
#include "loader/pipeline/rank.h"
#include "loader/pipeline/resolve.h"
#include "shardreel/loader.h"
#include "shardreel/units.h"

namespace shardreel {

Result<AssumedVideo> AssumedVideo::parse(std::string_view text) {
  static const std::regex form("([0-9]{1,5})x([0-9]{1,5}):([a-z0-9_]+)(:(8|10|12))?");
  std::match_results<std::string_view::const_iterator> parts;
  AssumedVideo video;
  if (std::regex_match(text.begin(), text.end(), parts, form)) {
    video.width = static_cast<std::uint32_t>(std::stoul(parts[1]));
    video.height = static_cast<std::uint32_t>(std::stoul(parts[2]));
    video.codec = parts[3];
    if (parts[5].matched) video.bits = static_cast<std::uint32_t>(std::stoul(parts[5]));
  }
  if (video.width == 0 || video.height == 0) {
    return Error{.code = ErrorCode::kInvalidOption,
                 .message = fmt::format("assume-video '{}': expected WIDTHxHEIGHT:CODEC, such as "
                                        "1920x1080:h264, or with bits, 1920x1080:hevc:10",
                                        text)};
  }
  return video;
}

Result<MemoryPlanReport> plan(const LoaderOptions& options,
                              const std::optional<AssumedVideo>& assumed) {
  auto resolved = resolve(options, process_environment(), ResolveTo::kPlan);
  if (!resolved) return resolved.error();
  const auto shards = resolve_shards(options);
  if (!shards) return shards.error();
  const MemoryPlan& plan = resolved->plan;
  MemoryPlanReport report;
  report.rows = plan.rows(resolved->options);
  auto gpus = plan_gpus(resolved->options, plan, *shards, assumed);
  if (!gpus) return gpus.error();
  report.gpu_rows = std::move(gpus->rows);
  report.gpu_videos = std::move(gpus->videos);
  report.gpu_memory_bytes = resolved->options.resource.gpu_memory_bytes;
  report.memory_bytes = plan.memory_bytes;
  report.clip_bytes = plan.clip_bytes;
  report.batch_bytes = plan.batch_bytes;
  report.shuffle_clips = plan.lanes * (plan.lane_shuffle_bytes / plan.clip_bytes);
  report.smallest_bytes = plan.smallest_bytes;
  const BatchOptions& batch = resolved->options.batch;
  if (batch.batches_per_epoch) {
    report.epoch = EpochSize{*batch.batches_per_epoch * batch.batch_size, *batch.batches_per_epoch};
  } else if (const auto length = EpochLength::measure(resolved->options, plan, *shards); length) {
    report.epoch = length->size(batch.epoch, *batch.rank * plan.lanes);
  } else {
    report.epoch_unknown = length.error().describe();
  }
  return report;
}

namespace {

/// Shares and their sum, a line each.
std::string share_lines(const std::vector<PlanRow>& rows, std::string_view on_top) {
  std::vector<PlanRow> lines = rows;
  PlanRow sum{"sum", 0, std::string(on_top)};
  std::size_t widest = 0;
  for (const PlanRow& row : rows) {
    widest = std::max(widest, row.share.size());
    sum.bytes += row.bytes;
  }
  lines.push_back(std::move(sum));
  std::string text;
  for (const PlanRow& row : lines)
    text +=
        fmt::format("  {:<{}}  {:>10}  {}\n", row.share, widest, format_bytes(row.bytes), row.why);
  return text;
}

nlohmann::ordered_json share_list(const std::vector<PlanRow>& rows) {
  auto list = nlohmann::ordered_json::array();
  for (const PlanRow& row : rows)
    list.push_back({{"share", row.share}, {"bytes", row.bytes}, {"why", row.why}});
  return list;
}

}  // namespace

std::string MemoryPlanReport::table() const {
  std::string text =
      fmt::format("memory_bytes {} ({} bytes)\n", format_bytes(memory_bytes), memory_bytes);
  text += share_lines(rows, "code, libraries and stacks come on top: at most 96 MiB");
  if (!gpu_rows.empty()) {
    text += fmt::format("each GPU, of gpu_memory_bytes {}\n", gpu_memory_bytes);
    text += share_lines(gpu_rows, "the CUDA context comes on top");
  }
  if (!gpu_videos.empty()) text += fmt::format("  decoder sessions: {}\n", gpu_videos);
  text += fmt::format("the least memory_bytes for these options: {} ({} bytes)",
                      format_bytes(smallest_bytes), smallest_bytes);
  text += epoch ? fmt::format("\nan epoch of this rank: {} clips in {} batches", epoch->clips,
                              epoch->batches)
                : fmt::format("\nan epoch's length is not known: {}", epoch_unknown);
  return text;
}

std::string MemoryPlanReport::to_json() const {
  nlohmann::ordered_json json;
  json["memory_bytes"] = memory_bytes;
  json["clip_bytes"] = clip_bytes;
  json["batch_bytes"] = batch_bytes;
  json["shuffle_clips"] = shuffle_clips;
  json["smallest_bytes"] = smallest_bytes;
  json["epoch_clips"] = epoch ? nlohmann::ordered_json(epoch->clips) : nullptr;
  json["epoch_batches"] = epoch ? nlohmann::ordered_json(epoch->batches) : nullptr;
  json["shares"] = share_list(rows);
  json["gpu_memory_bytes"] =
      gpu_rows.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(gpu_memory_bytes);
  json["gpu_shares"] = share_list(gpu_rows);
  json["gpu_videos"] =
      gpu_videos.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(gpu_videos);
  return json.dump();
}

}  // namespace shardreel
