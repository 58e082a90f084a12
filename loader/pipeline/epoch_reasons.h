#pragma once
// Why an epoch gave less than it might, for the message that ends a run.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "loader/read/sample_stream.h"
#include "shardreel/error.h"

namespace shardreel {

/// What was lost in one epoch, by reason. It is not part of a state: after a resume it knows what
/// came since.
class EpochReasons {
 public:
  void shard_failed(const Error& error) { add("shard", error); }
  void sample_failed(const Error& error) { add("sample", error); }
  void sample_filtered() { ++filtered_; }
  void shards_empty(EmptyShards empty) { empty_ = std::move(empty); }

  [[nodiscard]] std::uint64_t filtered() const { return filtered_; }

  /// "3 samples no_video (the first: shard S, key K at byte N: ...), 1 shard empty (...)", the most
  /// frequent reason first; empty when nothing was lost.
  [[nodiscard]] std::string describe() const;

 private:
  struct Reason {
    std::string_view of;
    std::string_view word;
    std::uint64_t count = 0;
    std::string first;
  };
  void add(std::string_view of, const Error& error);

  std::vector<Reason> reasons_;  // in the order of their first examples
  std::uint64_t filtered_ = 0;
  EmptyShards empty_;
};

}  // namespace shardreel
