#pragma once
// What `inspect` prints: JSON lines, or a table with totals at its end.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "tools/commands/shard_walk.h"
#include "tools/commands/video_facts.h"

namespace shardreel::tools {

/// A sample with what was found out about it.
struct InspectedSample {
  const WalkedSample* walked = nullptr;       ///< borrowed
  std::vector<std::string> sha256;            ///< one a field; empty when not asked for
  std::optional<Result<VideoFactsOf>> video;  ///< nothing: has none, or was not looked at
};

/// One line (with its end). `fields` has one member a field, in the archive's order.
[[nodiscard]] std::string sample_line(const InspectedSample& inspected);
/// The same place in the sequence for a sample that cannot be read.
[[nodiscard]] std::string failure_line(const FailedSample& failure);

/// Rows of a table, printed as they come, and sums at the end. Holds sums only.
class InspectTable {
 public:
  void add(const InspectedSample& inspected);
  void add_failure(const FailedSample& failure);
  void add_shard() { ++shards_; }
  void print_totals() const;

 private:
  struct FieldTotal {
    std::uint64_t count = 0, bytes = 0;
  };
  void begin_shard(const std::string& shard);

  std::string shard_;
  std::uint64_t shards_ = 0, samples_ = 0, failures_ = 0, videos_ = 0, bad_videos_ = 0,
                times_unused_ = 0;
  std::uint64_t bytes_ = 0;
  std::int64_t frames_ = 0;
  double seconds_ = 0;
  std::map<std::string, FieldTotal> fields_;
  std::map<std::string, std::uint64_t> codecs_;
};

}  // namespace shardreel::tools
