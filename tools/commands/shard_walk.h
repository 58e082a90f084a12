#pragma once
// Every sample of a list of shards, in order, for the subcommands that look at shards.

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "loader/read/source_opener.h"
#include "shardreel/shard_reader.h"
#include "shardreel/shard_url.h"

namespace shardreel::tools {

struct WalkOptions {
  Integrity integrity = Integrity::kStrict;
  /// Members up to this are read whole; of larger ones a plain file gives ranges, and other sources
  /// spool them to unlinked files. See ShardReaderOptions for both.
  std::uint64_t member_inline_bytes = std::uint64_t{64} << 10;
  std::uint64_t max_member_bytes = std::uint64_t{64} << 30;
  std::string spool_dir;
  bool allow_pipe = true;
  /// Compat only. The reference forgets to end a sample where a shard breaks off with an error: if
  /// the next shard begins with the same key, both become one sample. This does the same. (Not
  /// reproduced: a sample dropped by `__bad__` at the break takes its namesake with it.)
  bool merge_cut_samples = false;
};

struct WalkedSample {
  std::uint64_t shard_number = 0;  ///< in the expanded list
  Sample sample;
  /// Of a merged sample, the shard that each field came from; empty for every other.
  std::vector<std::string> field_shards;
};

/// A shard that was read to its end, or as far as it goes.
struct WalkedShard {
  std::uint64_t number = 0;
  std::string url;
  std::uint64_t bytes = 0;                  ///< reached in the decompressed archive
  std::optional<std::uint64_t> file_bytes;  ///< as stored, for a regular file
  std::uint64_t samples = 0, failures = 0;
  bool whole = false;                ///< its end was reached
  std::optional<std::string> empty;  ///< see ShardEnd
};

/// Gets what is found. Each call answers whether to go on; an error ends the walk and is returned.
class WalkVisitor {
 public:
  virtual ~WalkVisitor() = default;
  /// A sample's contents may be kept; those of a large member keep its file open.
  virtual Result<bool> sample(WalkedSample sample) = 0;
  virtual Result<bool> failure(std::uint64_t shard_number, const FailedSample& failure) = 0;
  virtual Result<bool> shard_end(const WalkedShard& shard);
};

/// Opens and reads shards one at a time. Holds one sample and one block of the source (merging: two
/// samples). Not thread-safe.
class ShardWalker {
 public:
  ShardWalker(WalkOptions options, std::stop_token stop);
  ~ShardWalker();

  /// Read the shard `number` of the list, `url`. A source that cannot be opened is a fatal failure
  /// like others. Returns false when the visitor had enough; kStopped when asked to stop.
  Result<bool> walk(std::uint64_t number, const std::string& url, WalkVisitor& visitor);

  /// Behind the last shard: give what merging has held back.
  Result<bool> finish(WalkVisitor& visitor);

 private:
  struct Held;
  Result<bool> take(WalkedSample sample, WalkVisitor& visitor);
  Result<bool> break_off(const FailedSample& failure, WalkVisitor& visitor);
  Result<bool> release(WalkVisitor& visitor);

  WalkOptions options_;
  std::stop_token stop_;
  SourceOpener opener_;
  std::unique_ptr<Held> held_;  ///< the sample that may go on; only when merging
};

/// The path of a shard that is a file; nothing for pipes, standard input and other schemes.
std::optional<std::string> local_path(const std::string& url);

/// Walk all shards of the list.
Result<bool> walk_shards(const ShardList& shards, const WalkOptions& options, WalkVisitor& visitor,
                         const std::stop_token& stop);

}  // namespace shardreel::tools
