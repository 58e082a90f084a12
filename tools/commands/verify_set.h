#pragma once
// The checks that compare samples with each other: keys and fields.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "shardreel/sample.h"
#include "tools/commands/finding.h"

namespace shardreel::tools {

/// Sees every sample once, in order. Holds a hash of each key (some 60 bytes a sample), and the
/// sets of fields that occur, each once.
class SetChecks {
 public:
  /// `video_fields` are one for the question what is missing, but for those of pictures.
  explicit SetChecks(const std::vector<std::string>& video_fields);

  /// Take a sample; a key that was there already is found at once.
  std::optional<Finding> add(std::uint64_t shard_number, const Sample& sample);

  /// Behind the last sample: fields that at least three quarters of the samples have are missing in
  /// the others. For each set of fields with a gap the first few samples are named, all are
  /// counted.
  void finish(Findings& findings);

  /// Whether a sample has this field.
  [[nodiscard]] bool has_field(const std::string& name) const { return seen_.contains(name); }

  /// After `finish`: what this sample lacks; empty = nothing.
  [[nodiscard]] std::vector<std::string> missing_in(const Sample& sample) const;

 private:
  struct KeyHash {
    std::uint64_t low = 0, high = 0;
    friend bool operator==(const KeyHash&, const KeyHash&) = default;
  };
  struct Mix {
    std::size_t operator()(const KeyHash& hash) const noexcept {
      return static_cast<std::size_t>(hash.low);
    }
  };
  struct Place {
    std::uint64_t shard = 0, offset = 0;
  };
  struct Example {
    std::uint64_t shard_number = 0, ordinal = 0, offset = 0;
    std::string shard, key;
  };
  struct Shape {
    std::uint64_t count = 0;
    std::vector<Example> first;
  };
  using Names = std::set<std::string>;
  [[nodiscard]] Names names_of(const Sample& sample) const;

  std::set<std::string> alike_;
  std::unordered_map<KeyHash, Place, Mix> keys_;
  std::map<std::uint64_t, std::string> shards_;  ///< names by number
  std::map<Names, Shape> shapes_;
  std::uint64_t samples_ = 0;
  const std::set<std::string> listed_;
  Names seen_;      ///< those of `listed_` that samples have
  Names expected_;  ///< after `finish`
};

}  // namespace shardreel::tools
