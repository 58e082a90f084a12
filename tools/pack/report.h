#pragma once
// What a run leaves behind and says: manifest, list of refused inputs, summary.

#include <cstdint>
#include <string>
#include <vector>

#include "shards/dataset_manifest.h"
#include "tools/pack/arrange.h"
#include "tools/pack/tally.h"

namespace shardreel::tools {

/// A run as it ended.
struct Outcome {
  std::string out;
  std::vector<ManifestShard> shards;
  Tally tally;
  std::uint64_t ignored = 0;
  std::string options;      ///< the deciding ones, JSON
  std::string task;         ///< "task 1 of 4 (...)"; empty when alone
  std::size_t resumed = 0;  ///< shards that an earlier run had written
  bool manifest = false;    ///< whether dataset.json was written
  double seconds = 0;       ///< that the run took
};

DatasetManifest make_manifest(const std::vector<ManifestShard>& shards, const Tally& tally,
                              const std::string& options, const std::string& tool);

/// Write dataset.json, and refused.jsonl where something was refused (else an old one goes).
Result<void> write_reports(const std::string& directory, const DatasetManifest& manifest,
                           const std::vector<Refusal>& refused);

/// One line for each refused input on standard error.
void complain_of(const std::vector<Refusal>& refused);

/// The JSON object of a run that ends without an outcome: `out`, `error`, and what was refused.
bool print_failure(const std::string& out, const Error& error, const std::vector<Refusal>& refused);

/// The summary on standard output, as text or as one JSON object; false when that failed.
bool print_outcome(const Outcome& outcome, bool json);
bool print_plan(const std::vector<PlannedShard>& shards, const Tally& tally, std::uint64_t ignored,
                const std::string& options, bool json);

}  // namespace shardreel::tools
