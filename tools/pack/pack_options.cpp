#include "tools/pack/pack_options.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "tools/commands/text_json.h"
#include "tools/pack/tally.h"
#include "tools/pack/upload_set.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 4> kBalanceWords{"none", "bytes", "frames", "seconds"};

}  // namespace

std::optional<std::string> problem_with(const PackOptions& options) {
  if (!options.finish.empty()) return std::nullopt;
  if (options.inputs.empty()) return "no files or folders given";
  if (options.out.empty() && !options.dry_run) return "no folder to write to; give --out DIR";
  if (is_bucket(options.out) && (options.task_count || !options.finish.empty())) {
    return "machines that pack together need a folder they share as --out; upload what --finish "
           "made there";
  }
  if (!options.staging.empty() && !is_bucket(options.out)) {
    return "--staging goes with --out s3://BUCKET/PREFIX";
  }
  if (options.out.find("://") != std::string::npos && !is_bucket(options.out)) {
    return fmt::format("'{}' cannot be written to; --out takes a folder or s3://BUCKET/PREFIX",
                       options.out);
  }
  if (options.prefix.find('/') != std::string::npos) {
    return fmt::format("the prefix '{}' holds a '/'; name the folder with --out", options.prefix);
  }
  if (options.prefix.starts_with('.') || !is_utf8(options.prefix) ||
      options.prefix.find('\0') != std::string::npos) {
    return fmt::format("the prefix '{}' begins with a dot or is not UTF-8", options.prefix);
  }
  if (!std::isfinite(options.prepare.segment_seconds)) {
    return "--segment-seconds is no finite number";
  }
  const bool needs_facts =
      options.balance == BalanceBy::kFrames || options.balance == BalanceBy::kSeconds;
  if (needs_facts && options.prepare.check == CheckLevel::kNone) {
    return "--balance frames and seconds need --check open or decode";
  }
  return std::nullopt;
}

std::string deciding_options(const PackOptions& options, std::uint32_t tasks) {
  Json json = {{"prefix", options.prefix},
               {"shard_bytes", options.limits.bytes},
               {"shard_samples", options.limits.samples},
               {"balance", kBalanceWords[static_cast<std::size_t>(options.balance)]},
               {"check", to_string(options.prepare.check)}};
  if (options.shuffle) json["shuffle"] = *options.shuffle;
  if (!options.splits.empty()) {
    Json splits = Json::object();
    for (const Split& split : options.splits) splits[split.name] = split.share;
    json["split"] = std::move(splits);
    json["group_by"] = options.group_by_folder ? "folder" : "key";
  }
  if (options.prepare.transcode) json["transcode"] = to_string(*options.prepare.transcode);
  if (options.prepare.segment_seconds > 0) {
    json["segment_seconds"] = options.prepare.segment_seconds;
  }
  if (tasks > 0) json["tasks"] = tasks;
  return dump(json);
}

std::string shard_prefix(const PackOptions& options, const std::string& split,
                         std::optional<std::uint32_t> task) {
  std::string prefix = options.prefix;
  if (!split.empty()) prefix = (options.prefix_given ? options.prefix : "") + split + "-";
  if (task) prefix += fmt::format("{:04}-", *task);
  return prefix;
}

}  // namespace shardreel::tools
