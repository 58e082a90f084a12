#include "tools/pack/finish.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <unordered_map>
#include <utility>
#include <variant>

#include "shardreel/shard_reader.h"
#include "shards/file_access.h"
#include "shards/sha256.h"
#include "tools/pack/folder.h"
#include "tools/pack/ordered_work.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

Error wrong(std::string message) { return Error{ErrorCode::kIo, std::move(message), {}, {}, {}}; }

/// What all tasks of a run share, from the first line of a journal.
struct Header {
  std::string line, tool, options;
  std::uint64_t inputs = 0, ignored = 0;
  std::vector<std::string> prefixes;
};

Result<Header> read_header(const std::string& line) {
  const Json json = Json::parse(line, nullptr, false);
  try {
    Header header{line,
                  json.at("tool").get<std::string>(),
                  dump(json.at("options")),
                  json.at("inputs").get<std::uint64_t>(),
                  json.at("ignored").get<std::uint64_t>(),
                  {}};
    for (const Json& prefix : json.at("prefixes")) header.prefixes.push_back(prefix);
    return header;
  } catch (const nlohmann::json::exception& error) {
    return Error{ErrorCode::kInternal,
                 fmt::format("reading the journal of a task: {}", error.what()),
                 {},
                 {},
                 {}};
  }
}

/// Read the keys out of a shard; a key that an earlier one has is an error.
Result<void> check_keys(const std::string& directory, const ManifestShard& shard,
                        std::unordered_map<std::string, std::string>& keys) {
  const std::string path = directory + "/" + shard.name;
  auto stream = open_file(path);
  if (!stream) return std::move(stream.error());
  ShardReaderOptions options;
  options.member_inline_bytes = 0;  // contents stay where they are
  ShardReader reader(std::move(*stream), path, options);
  std::uint64_t samples = 0;
  for (;;) {
    auto step = reader.step();
    if (std::holds_alternative<ShardEnd>(step)) break;
    if (auto* failed = std::get_if<FailedSample>(&step)) return std::move(failed->error);
    if (auto* sample = std::get_if<Sample>(&step)) {
      ++samples;
      const auto [at, is_new] = keys.emplace(sample->key, shard.name);
      if (!is_new) {
        return Error{
            ErrorCode::kDuplicateKey,
            fmt::format("the key '{}' is in '{}' and in '{}'", sample->key, at->second, shard.name),
            {},
            {},
            {}};
      }
    }
  }
  if (samples == shard.counts.samples) return {};
  return wrong(
      fmt::format("'{}' holds {} samples; its task wrote {}", path, samples, shard.counts.samples));
}

/// The shards' bytes are those that their tasks wrote: a change that leaves the size alone shows in
/// nothing else.
Result<void> check_digests(const std::string& directory, const std::vector<ManifestShard>& shards) {
  const auto look_at = [&](std::size_t i, const std::stop_token&) -> Result<std::string> {
    auto stream = open_file(directory + "/" + shards[i].name);
    if (!stream) return std::move(stream.error());
    return sha256_of(*(*stream)->random_access());
  };
  OrderedWork<Result<std::string>> work(0, shards.size(),
                                        std::max(1U, std::thread::hardware_concurrency()), look_at);
  for (const ManifestShard& shard : shards) {
    const auto digest = work.next();
    if (!*digest) return digest->error();
    if (**digest == shard.sha256) continue;
    return wrong(
        fmt::format("'{}/{}' has the SHA-256 {}; its task wrote {}: it was changed since, "
                    "put it back or run its task again",
                    directory, shard.name, **digest, shard.sha256));
  }
  return {};
}

/// Every shard is there as its task left it, and nothing else of this set.
Result<void> check_shards(const std::string& directory, const Header& header,
                          const std::vector<std::string>& names,
                          const std::vector<ManifestShard>& shards) {
  std::unordered_map<std::string, std::string> keys;
  std::map<std::string, bool> known;
  for (const ManifestShard& shard : shards) {
    if (!known.emplace(shard.name, true).second) {
      return wrong(fmt::format("two tasks wrote a shard named '{}'", shard.name));
    }
    if (auto good = check_size(directory, shard.name, shard.counts.bytes); !good) return good;
    if (auto good = check_keys(directory, shard, keys); !good) return good;
  }
  if (auto good = check_digests(directory, shards); !good) return good;
  for (const std::string& name : names) {
    const bool ours =
        std::any_of(header.prefixes.begin(), header.prefixes.end(), [&](const std::string& prefix) {
          // A task's shards have its number behind the prefix.
          const std::size_t dash = name.find('-', prefix.size());
          return name.starts_with(prefix) && dash != std::string::npos &&
                 is_shard_name(name, name.substr(0, dash + 1));
        });
    if (ours && !known.contains(name)) {
      return wrong(
          fmt::format("'{}/{}' is of no task of this run (left from another one?); delete "
                      "it and finish again",
                      directory, name));
    }
  }
  return {};
}

/// All tasks' journals: nothing when there is none.
Result<std::map<std::uint32_t, std::vector<std::string>>> read_journals(
    const std::string& directory, const std::vector<std::string>& names) {
  std::map<std::uint32_t, std::vector<std::string>> journals;
  std::uint32_t count = 0;
  for (const std::string& name : names) {
    const auto task = task_of_journal(name);
    if (!task) continue;
    if (count != 0 && task->count != count) {
      return wrong(fmt::format("'{}' holds work of runs with {} and with {} tasks", directory,
                               count, task->count));
    }
    count = task->count;
    auto lines = Journal::read(directory + "/" + name);
    if (!lines) return std::move(lines.error());
    journals[task->index] = std::move(*lines);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    if (!journals.contains(i)) {
      return wrong(fmt::format("task {} of {} is missing: it has not been run in '{}'", i, count,
                               directory));
    }
  }
  return journals;
}

/// In the order of their splits, within a split by name.
void sort_shards(const std::string& options, std::vector<ManifestShard>& shards) {
  std::map<std::string, std::size_t> places;
  const Json json = Json::parse(options, nullptr, false);
  if (json.contains("split")) {
    for (const auto& [name, share] : json["split"].items()) places.emplace(name, places.size());
  }
  std::stable_sort(shards.begin(), shards.end(),
                   [&](const ManifestShard& a, const ManifestShard& b) {
                     return std::pair(places[a.split], a.name) < std::pair(places[b.split], b.name);
                   });
}

Result<void> remove_journals(const std::string& directory, const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    const std::string path = directory + "/" + name;
    if (!task_of_journal(name)) continue;
    if (unlink(path.c_str()) != 0) return system_error(fmt::format("removing '{}'", path), errno);
  }
  return {};
}

/// A finish that was killed while it deleted the journals: the manifest is there, and every journal
/// that is left tells of a task that is done.
bool was_finished(const std::string& directory, const std::vector<std::string>& names) {
  if (!read_dataset_manifest(directory + "/" + std::string(kDatasetManifestName))) return false;
  for (const std::string& name : names) {
    if (!task_of_journal(name)) continue;
    const auto lines = Journal::read(directory + "/" + name);
    if (!lines || lines->empty()) return false;
    const auto state = SetState::load(std::span(*lines).subspan(1));
    if (!state || !state->done) return false;
  }
  return true;
}

Result<Outcome> finished_before(const std::string& directory) {
  auto manifest = read_dataset_manifest(directory + "/" + std::string(kDatasetManifestName));
  if (!manifest) {
    return wrong(fmt::format("'{}' holds no work of tasks and no finished set ({})", directory,
                             manifest.error().message));
  }
  Outcome outcome;
  outcome.out = directory;
  outcome.shards = std::move(manifest->shards);
  outcome.options = std::move(manifest->options);
  outcome.manifest = true;
  return outcome;
}

}  // namespace

Result<Outcome> finish_tasks(const std::string& directory) {
  auto names = names_in(directory);
  if (!names) return std::move(names.error());
  if (was_finished(directory, *names)) {
    if (auto gone = remove_journals(directory, *names); !gone) return std::move(gone.error());
    return finished_before(directory);
  }
  const auto journals = read_journals(directory, *names);
  if (!journals) return journals.error();
  if (journals->empty()) return finished_before(directory);

  Outcome outcome;
  outcome.out = directory;
  std::optional<Header> header;
  for (const auto& [index, lines] : *journals) {
    if (lines.empty()) return wrong(fmt::format("the journal of task {} is empty", index));
    if (!header) {
      auto first = read_header(lines[0]);
      if (!first) return std::move(first.error());
      header = std::move(*first);
    } else if (lines[0] != header->line) {
      return wrong(fmt::format("task {} ran with other inputs or options than task 0", index));
    }
    auto state = SetState::load(std::span(lines).subspan(1));
    if (!state) return std::move(state.error());
    if (!state->done) return wrong(fmt::format("task {} is not done", index));
    outcome.tally += state->tally;
    outcome.shards.insert(outcome.shards.end(), state->shards.begin(), state->shards.end());
  }
  if (outcome.tally.inputs != header->inputs) {
    return wrong(fmt::format("the tasks packed or refused {} samples; {} were listed",
                             outcome.tally.inputs, header->inputs));
  }
  outcome.options = header->options;
  outcome.ignored = header->ignored;
  sort_shards(outcome.options, outcome.shards);
  if (auto good = check_shards(directory, *header, *names, outcome.shards); !good) {
    return std::move(good.error());
  }
  const auto manifest = make_manifest(outcome.shards, outcome.tally, outcome.options, header->tool);
  if (auto written = write_reports(directory, manifest, outcome.tally.refused); !written) {
    return std::move(written.error());
  }
  outcome.manifest = true;
  if (auto gone = remove_journals(directory, *names); !gone) return std::move(gone.error());
  return outcome;
}

}  // namespace shardreel::tools
