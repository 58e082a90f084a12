#include "tools/commands/verify_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "shardreel/units.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMostShown = 20;  // findings of a kind in the text

template <typename Offset>
void add_offset(Json& json, const Offset& offset) {
  if (offset)
    json["offset"] = *offset;
  else
    json["offset"] = nullptr;
}

Json finding_json(const Finding& finding) {
  const KindInfo& info = info_of(finding.kind);
  Json json;
  json["severity"] = to_string(info.severity);
  json["kind"] = info.word;
  add_text(json, "shard", finding.shard);
  add_text(json, "key", finding.key);
  add_text(json, "field", finding.field);
  add_offset(json, finding.offset);
  json["message"] = printable_utf8(finding.message);
  json["advice"] = info.advice;
  return json;
}

Json repair_json(const RepairReport& repair) {
  Json json;
  add_text(json, "directory", repair.directory);
  json["shards"] = repair.shards;
  json["samples"] = repair.samples;
  json["bytes"] = repair.bytes;
  json["left_out_count"] = repair.left_out_count;
  Json& left_out = json["left_out"] = Json::array();
  for (const LeftOut& one : repair.left_out) {
    Json entry;
    add_text(entry, "shard", one.shard);
    add_text(entry, "key", one.key);
    add_offset(entry, one.offset);
    entry["reason"] = printable_utf8(one.reason);
    left_out.push_back(std::move(entry));
  }
  return json;
}

/// The kinds that occurred, errors first.
std::vector<FindingKind> kinds_of(const Findings& findings) {
  std::vector<FindingKind> kinds;
  for (const auto& [kind, count] : findings.counts()) {
    if (count > 0) kinds.push_back(kind);
  }
  std::stable_sort(kinds.begin(), kinds.end(), [](FindingKind a, FindingKind b) {
    return info_of(a).severity < info_of(b).severity;
  });
  return kinds;
}

std::string place_of(const Finding& finding) {
  std::string place = for_terminal(finding.shard);
  if (!finding.key.empty()) place += ", key " + for_terminal(finding.key);
  if (!finding.field.empty()) place += ", field " + for_terminal(finding.field);
  if (finding.offset) place += fmt::format(", at byte {}", *finding.offset);
  return place;
}

}  // namespace

std::string verify_json(const VerifyOutcome& outcome) {
  const Findings& findings = outcome.findings;
  Json json;
  json["shards"] = outcome.shards;
  json["samples"] = outcome.samples;
  json["bytes"] = outcome.bytes;
  json["videos"] = outcome.videos;
  json["deep"] = outcome.deep;
  json["frames_decoded"] = outcome.frames_decoded;
  json["manifests"] = outcome.manifests;
  json["indexes"] = outcome.indexes;
  json["stopped"] = outcome.stopped;
  json["errors"] = findings.count(Severity::kError);
  json["warnings"] = findings.count(Severity::kWarning);
  Json& by_kind = json["findings_by_kind"] = Json::object();
  Json& list = json["findings"] = Json::array();
  for (const FindingKind kind : kinds_of(findings)) {
    by_kind[std::string(info_of(kind).word)] = findings.counts().at(kind);
    for (const Finding& finding : findings.of(kind)) list.push_back(finding_json(finding));
  }
  json["findings_left_out"] = findings.left_out();
  if (outcome.repair) json["repair"] = repair_json(*outcome.repair);
  return json.dump();
}

std::string verify_text(const VerifyOutcome& outcome) {
  const Findings& findings = outcome.findings;
  std::string text;
  for (const FindingKind kind : kinds_of(findings)) {
    const KindInfo& info = info_of(kind);
    const std::uint64_t count = findings.counts().at(kind);
    text += fmt::format("{} {}: {} ({})\n", info.severity == Severity::kError ? "ERROR" : "WARNING",
                        info.word, info.title, count);
    const auto& kept = findings.of(kind);
    const std::size_t shown = std::min(kMostShown, kept.size());
    for (std::size_t i = 0; i < shown; ++i)
      text += fmt::format("  {}\n      {}\n", place_of(kept[i]), for_terminal(kept[i].message));
    if (count > shown) text += fmt::format("  ... and {} more (see --json)\n", count - shown);
    text += fmt::format("  What to do: {}.\n\n", info.advice);
  }
  text += fmt::format("{} {} shards, {} samples, {}, {} videos",
                      outcome.stopped ? "stopped after" : "verified", outcome.shards,
                      outcome.samples, format_bytes(outcome.bytes), outcome.videos);
  if (outcome.deep) text += fmt::format(", {} frames decoded", outcome.frames_decoded);
  const std::uint64_t errors = findings.count(Severity::kError);
  const std::uint64_t warnings = findings.count(Severity::kWarning);
  if (outcome.manifests > 0) text += fmt::format(", {} manifests", outcome.manifests);
  text += errors + warnings == 0 ? ": nothing wrong\n"
                                 : fmt::format(": {} errors, {} warnings\n", errors, warnings);
  if (!outcome.repair) return text;
  const RepairReport& repair = *outcome.repair;
  for (std::size_t i = 0; i < std::min(kMostShown, repair.left_out.size()); ++i) {
    const LeftOut& one = repair.left_out[i];
    text += fmt::format("left out: {}{}{}: {}\n", for_terminal(one.shard),
                        one.key.empty() ? "" : ", key " + for_terminal(one.key),
                        one.offset ? fmt::format(", at byte {}", *one.offset) : "",
                        for_terminal(one.reason));
  }
  if (repair.left_out_count > kMostShown)
    text += fmt::format("... and {} more\n", repair.left_out_count - kMostShown);
  text += fmt::format("repaired: {} samples in {} shards, {}, in '{}'; {} left out\n",
                      repair.samples, repair.shards, format_bytes(repair.bytes),
                      for_terminal(repair.directory), repair.left_out_count);
  return text;
}

}  // namespace shardreel::tools
