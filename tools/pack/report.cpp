#include "tools/pack/report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "shardreel/units.h"
#include "shards/file_access.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

Json json_of(const std::vector<Refusal>& refused) {
  Json list = Json::array();
  for (const Refusal& refusal : refused) list.push_back(to_json(refusal));
  return list;
}

ManifestCounts total_of(const std::vector<ManifestShard>& shards) {
  ManifestCounts total;
  total.frames = 0;
  total.seconds = 0;
  for (const ManifestShard& shard : shards) total += shard.counts;
  return total;
}

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

Json json_of(const TranscodeGain& gain) {
  const auto videos = static_cast<double>(gain.videos);
  return {{"videos", gain.videos},
          {"source_bytes", gain.source_bytes},
          {"bytes", gain.bytes},
          {"source_decoded_frames_per_window", ratio(gain.source_window_frames, videos)},
          {"decoded_frames_per_window", ratio(gain.window_frames, videos)},
          {"fewer_bytes",
           ratio(static_cast<double>(gain.source_bytes), static_cast<double>(gain.bytes))},
          {"fewer_decoded_frames", ratio(gain.source_window_frames, gain.window_frames)}};
}

void print_json(const Outcome& outcome) {
  const ManifestCounts total = total_of(outcome.shards);
  Json shards = Json::array();
  for (const ManifestShard& shard : outcome.shards) {
    Json one = {{"path", outcome.out + "/" + shard.name}};
    one.update(to_json(shard));
    shards.push_back(std::move(one));
  }
  Json report = {{"out", outcome.out},
                 {"samples", total.samples},
                 {"bytes", total.bytes},
                 {"payload_bytes", total.payload_bytes}};
  if (total.frames) report["frames"] = *total.frames;
  if (total.seconds) report["video_seconds"] = *total.seconds;
  report["shards"] = std::move(shards);
  report["resumed_shards"] = outcome.resumed;
  report["refused"] = json_of(outcome.tally.refused);
  report["ignored_files"] = outcome.ignored;
  if (outcome.tally.gain.videos > 0) report["transcode"] = json_of(outcome.tally.gain);
  if (!outcome.task.empty()) report["task"] = outcome.task;
  if (outcome.manifest) report["manifest"] = outcome.out + "/" + std::string(kDatasetManifestName);
  report["options"] = Json::parse(outcome.options, nullptr, false);
  report["seconds"] = outcome.seconds;
  fmt::print("{}\n", dump(report));
}

void print_text(const Outcome& outcome) {
  for (const ManifestShard& shard : outcome.shards) {
    fmt::print("{}/{}  {} samples, {}\n", for_terminal(outcome.out), for_terminal(shard.name),
               shard.counts.samples, format_bytes(shard.counts.bytes));
  }
  const ManifestCounts total = total_of(outcome.shards);
  fmt::print(
      "packed {} samples ({}) into {} shards in '{}' in {:.1f} s; {} refused, {} files that "
      "belong to no video ignored\n",
      total.samples, format_bytes(total.payload_bytes), outcome.shards.size(),
      for_terminal(outcome.out), outcome.seconds, outcome.tally.refused.size(), outcome.ignored);
  if (outcome.resumed > 0) {
    fmt::print("{} of these shards were there from an earlier run\n", outcome.resumed);
  }
  if (const TranscodeGain& gain = outcome.tally.gain; gain.videos > 0) {
    const auto videos = static_cast<double>(gain.videos);
    fmt::print(
        "transcoded {} videos: {} became {}; a window of 16 frames takes {:.1f} decoded "
        "frames instead of {:.1f}\n",
        gain.videos, format_bytes(gain.source_bytes), format_bytes(gain.bytes),
        gain.window_frames / videos, gain.source_window_frames / videos);
  }
  if (!outcome.task.empty()) {
    fmt::print("{}; when all are done: shardreel pack --finish '{}'\n", outcome.task,
               for_terminal(outcome.out));
  }
}

}  // namespace

DatasetManifest make_manifest(const std::vector<ManifestShard>& shards, const Tally& tally,
                              const std::string& options, const std::string& tool) {
  DatasetManifest manifest;
  manifest.tool = tool;
  manifest.options = options;
  manifest.counts = total_of(shards);
  manifest.refused = tally.refused.size();
  manifest.codecs = tally.codecs;
  manifest.sizes = tally.sizes;
  manifest.fields = tally.fields;
  manifest.shards = shards;
  return manifest;
}

Result<void> write_reports(const std::string& directory, const DatasetManifest& manifest,
                           const std::vector<Refusal>& refused) {
  const std::string name(kRefusedName);
  if (refused.empty()) {
    const std::string path = directory + "/" + name;
    if (unlink(path.c_str()) != 0 && errno != ENOENT) {
      return system_error(fmt::format("removing '{}'", path), errno);
    }
  } else {
    std::string lines;
    for (const Refusal& refusal : refused) lines += dump(to_json(refusal)) + "\n";
    if (auto written = write_whole_file(directory, name, lines); !written) return written;
  }
  return write_whole_file(directory, std::string(kDatasetManifestName), to_json(manifest));
}

void complain_of(const std::vector<Refusal>& refused) {
  for (const Refusal& refusal : refused) {
    fmt::print(stderr, "shardreel pack: refused '{}': {}: {}\n", for_terminal(refusal.path),
               to_string(refusal.code), for_terminal(refusal.message));
  }
}

bool print_failure(const std::string& out, const Error& error,
                   const std::vector<Refusal>& refused) {
  const Json report = {{"out", out},
                       {"error", {{"code", to_string(error.code)}, {"message", error.describe()}}},
                       {"refused", json_of(refused)}};
  fmt::print("{}\n", dump(report));
  return std::fflush(stdout) == 0;
}

bool print_outcome(const Outcome& outcome, bool json) {
  json ? print_json(outcome) : print_text(outcome);
  return std::fflush(stdout) == 0;
}

bool print_plan(const std::vector<PlannedShard>& shards, const Tally& tally, std::uint64_t ignored,
                const std::string& options, bool json) {
  std::uint64_t samples = 0, bytes = 0;
  Json list = Json::array();
  for (const PlannedShard& shard : shards) {
    samples += shard.samples;
    bytes += shard.payload_bytes;
    list.push_back({{"name", shard.name},
                    {"split", shard.split},
                    {"samples", shard.samples},
                    {"payload_bytes", shard.payload_bytes},
                    {"frames", shard.frames},
                    {"seconds", shard.seconds}});
    if (!json) {
      fmt::print("{}  {} samples, {}, {} frames, {:.1f} s\n", for_terminal(shard.name),
                 shard.samples, format_bytes(shard.payload_bytes), shard.frames, shard.seconds);
    }
  }
  if (json) {
    const Json report = {{"dry_run", true},
                         {"samples", samples},
                         {"payload_bytes", bytes},
                         {"shards", list},
                         {"refused", json_of(tally.refused)},
                         {"ignored_files", ignored},
                         {"options", Json::parse(options, nullptr, false)}};
    fmt::print("{}\n", dump(report));
  } else {
    fmt::print(
        "would pack {} samples ({}) into {} shards; {} refused, {} files that belong to no "
        "video ignored; nothing was written\n",
        samples, format_bytes(bytes), shards.size(), tally.refused.size(), ignored);
  }
  return std::fflush(stdout) == 0;
}

}  // namespace shardreel::tools
