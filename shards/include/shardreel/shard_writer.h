#pragma once
// Write samples into tar shards, whole or not at all.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shardreel/byte_source.h>
#include <shardreel/error.h>

namespace shardreel {

struct ShardWriterOptions {
  std::string directory;          ///< created when missing
  std::string prefix = "shard-";  ///< names are prefix + six digits + ".tar"
  std::uint64_t max_samples = 0;  ///< roll to the next shard after so many samples; 0 = no bound
  std::uint64_t max_bytes = 0;    ///< roll before the payload would exceed this; 0 = no bound
  bool overwrite = false;         ///< replace existing shards; else one in the way is an error
  std::uint64_t first_shard = 0;  ///< number of the first shard (to go on where a run ended)
  bool sha256 = false;            ///< compute the shards' SHA-256 while they are written
};

/// A member to write: the field's name and where its bytes come from.
struct FieldToWrite {
  std::string name;
  std::shared_ptr<const RandomAccess> content;
};

struct WrittenShard {
  std::string path;
  std::uint64_t samples = 0;
  std::uint64_t bytes = 0;  ///< of the file
  std::string sha256;       ///< of the file, hexadecimal; empty unless asked for
};

/// Takes samples in order; gives shards that are byte-identical for the same input: ustar where it
/// fits, PAX where it must, integer mtime 0, fixed owner and mode, members of a sample in
/// field-name order. A shard appears under its final name only when it is complete and on disk
/// (temporary name, fsync, rename). Not thread-safe.
class ShardWriter {
 public:
  static Result<ShardWriter> create(ShardWriterOptions options);
  ShardWriter(ShardWriter&&) noexcept;
  ShardWriter& operator=(ShardWriter&&) noexcept;
  ~ShardWriter();  ///< an unfinished shard is removed

  /// Append one sample. Keys must be non-empty and split back into the same key and field names; a
  /// key may not repeat the one before it.
  Result<void> write(std::string_view key, std::span<const FieldToWrite> fields);

  /// Whether a sample with these fields still goes into the shard that is being written; else
  /// `write` ends that one first. True when none is being written.
  [[nodiscard]] bool fits(std::span<const FieldToWrite> fields) const noexcept;

  /// Complete the shard that is being written, if any; the next sample begins another.
  Result<void> end_shard();

  /// The shards that are complete so far, in order.
  [[nodiscard]] const std::vector<WrittenShard>& written() const noexcept;

  /// Complete the last shard and return all that were written. Nothing can be written afterwards.
  Result<std::vector<WrittenShard>> finish();

 private:
  struct State;
  explicit ShardWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
