#include "tools/commands/verify_set.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <utility>

#include "loader/read/video_names.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

constexpr std::size_t kMostExamples = 20;   // of one set of fields
constexpr std::size_t kMostShapes = 10000;  // hostile archives: a new field in every sample
constexpr std::string_view kVideo = "a video";

}  // namespace

SetChecks::SetChecks(const std::vector<std::string>& video_fields)
    : listed_(video_fields.begin(), video_fields.end()) {
  for (const std::string& name : video_fields) {
    if (!names_a_picture(name)) alike_.insert(name);
  }
}

SetChecks::Names SetChecks::names_of(const Sample& sample) const {
  Names names;
  for (const Field& field : sample.fields)
    names.insert(alike_.contains(field.name) ? std::string(kVideo) : field.name);
  return names;
}

std::optional<Finding> SetChecks::add(std::uint64_t shard_number, const Sample& sample) {
  std::optional<Finding> finding;
  shards_.try_emplace(shard_number, sample.shard);
  const XXH128_hash_t hash = XXH3_128bits(sample.key.data(), sample.key.size());
  const auto [at, fresh] =
      keys_.try_emplace(KeyHash{hash.low64, hash.high64}, Place{shard_number, sample.offset});
  if (!fresh) {
    const Place& first = at->second;
    finding = Finding{FindingKind::kDuplicateKey,
                      sample.shard,
                      sample.key,
                      {},
                      sample.offset,
                      first.shard == shard_number
                          ? fmt::format("this shard has the key at byte {} already", first.offset)
                          : fmt::format("the key is in {} at byte {} already", shards_[first.shard],
                                        first.offset),
                      shard_number,
                      sample.ordinal};
  }
  ++samples_;
  for (const Field& field : sample.fields) {
    if (listed_.contains(field.name)) seen_.insert(field.name);
  }
  Names names = names_of(sample);
  if (shapes_.size() >= kMostShapes && !shapes_.contains(names)) return finding;
  Shape& shape = shapes_[std::move(names)];
  ++shape.count;
  if (shape.first.size() < kMostExamples)
    shape.first.push_back({shard_number, sample.ordinal, sample.offset, sample.shard, sample.key});
  return finding;
}

void SetChecks::finish(Findings& findings) {
  std::map<std::string, std::uint64_t> have;
  for (const auto& [names, shape] : shapes_) {
    for (const std::string& name : names) have[name] += shape.count;
  }
  for (const auto& [name, count] : have) {
    if (count < samples_ && count >= samples_ - samples_ / 4) expected_.insert(name);
  }
  for (const auto& [names, shape] : shapes_) {
    for (const std::string& name : expected_) {
      if (names.contains(name)) continue;
      std::string there;
      for (const std::string& one : names) there += (there.empty() ? "" : ", ") + for_terminal(one);
      for (const Example& example : shape.first) {
        findings.add(Finding{FindingKind::kMissingField, example.shard, example.key,
                             name == kVideo ? "" : name, example.offset,
                             fmt::format("no {}{}, which {} of {} samples have; there are: {}",
                                         name == kVideo ? "" : "field ", for_terminal(name),
                                         have[name], samples_, there),
                             example.shard_number, example.ordinal});
      }
      findings.add_more(FindingKind::kMissingField, shape.count - shape.first.size());
    }
  }
}

std::vector<std::string> SetChecks::missing_in(const Sample& sample) const {
  const Names names = names_of(sample);
  std::vector<std::string> missing;
  for (const std::string& name : expected_) {
    if (!names.contains(name)) missing.push_back(name);
  }
  return missing;
}

}  // namespace shardreel::tools
