#pragma once
// A shard's samples one by one: in the archive's order, or by an index.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/shard_index.h"
#include "shardreel/shard_reader.h"

namespace shardreel {

/// As `ShardReader`, whose contract it is. One thread at a time.
class SampleReader {
 public:
  virtual ~SampleReader() = default;
  virtual ReadStep step() = 0;
  virtual void refuse(Error error) = 0;
  [[nodiscard]] virtual std::uint64_t position() const noexcept = 0;
};

/// Read the archive from its beginning.
std::unique_ptr<SampleReader> read_in_order(std::unique_ptr<ByteStream> stream, std::string shard,
                                            ShardReaderOptions options);

/// The bytes that a member takes when it is held in memory: whole pages.
[[nodiscard]] std::uint64_t in_pages(std::uint64_t bytes);

/// What a sample whose fields do not fit into `capacity` together fails with.
Error too_much_at_once(std::uint64_t capacity);

/// How an index is used.
struct IndexedReading {
  std::uint64_t capacity = 0;  ///< of the allocator; samples fail as if all fields were read
  /// Fields of other keys are not read (their `content` is null); empty = all are wanted.
  std::function<bool(const std::string& key)> wants_key;
  std::function<bool(std::uint64_t ordinal)> wants_ordinal;  ///< likewise
  std::uint64_t unread = 0;  ///< events at the beginning, of which nothing is read either
};

/// The failure that reading this sample in order with these options would give; nothing when it
/// would be whole.
std::optional<Error> refuse_sample(const IndexedSample& sample, const std::string& shard,
                                   const ShardReaderOptions& options, std::uint64_t capacity);

/// The most memory that one sample takes by `read_by_index`. Nothing when this index cannot stand
/// for the archive: samples were damaged, or members do not lie in one piece within `file_bytes`.
std::optional<std::uint64_t> largest_sample(const ShardIndex& index, std::uint64_t file_bytes,
                                            const ShardReaderOptions& options);

/// Read by a fresh index for which `largest_sample` gave a number. The same samples and failures in
/// the same order as `read_in_order`, but nothing is read except the wanted samples' small fields:
/// a field of `large_fields` is a range of `file`.
std::unique_ptr<SampleReader> read_by_index(std::shared_ptr<const RandomAccess> file,
                                            ShardIndex index, std::string shard,
                                            ShardReaderOptions options, IndexedReading reading);

}  // namespace shardreel
