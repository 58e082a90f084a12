#pragma once
// The index of a shard: where its samples lie and what its videos are, in a file beside it
// (docs/format.md gives every byte). With it a reader seeks, and opens a video without a probe.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <shardreel/byte_source.h>
#include <shardreel/error.h>
#include <shardreel/video_record.h>

namespace shardreel {

/// What tells a shard from another: its size and a hash of samples of its bytes; neither its name
/// nor its times. docs/format.md says what is and what is not noticed.
struct ShardIdentity {
  std::uint64_t bytes = 0;
  std::uint64_t fingerprint = 0;
  friend bool operator==(const ShardIdentity&, const ShardIdentity&) = default;
};

/// Read at most 64 KiB of the shard's file, as it is stored.
Result<ShardIdentity> identify_shard(const RandomAccess& shard);

/// One member of a sample. Offsets are those of the decompressed archive.
struct IndexedField {
  std::string name;          ///< as `Field::name`
  std::string written_name;  ///< as the archive has it, where lower-casing changed it; else empty
  std::uint64_t offset = 0;  ///< of its first header block
  std::uint64_t content_offset = 0;  ///< of its content; 0 unless `contiguous`
  std::uint64_t size = 0;            ///< of its content, holes of sparse members included
  bool contiguous = true;            ///< false: sparse, only a tar reader finds its content
};

struct IndexedSample {
  std::string key;
  std::uint64_t ordinal = 0;     ///< as `Sample::ordinal`; ascending, gaps where one is `__bad__`
  std::uint64_t offset = 0;      ///< of the first member's header
  std::uint64_t end_offset = 0;  ///< behind the last member's content and padding
  std::vector<IndexedField> fields;  ///< in the archive's order; empty when the sample failed
  bool video = false;                ///< whether `ShardIndex::video` knows its video
  std::optional<Error> failure;      ///< why not, or why the sample cannot be read at all
};

/// A video with all that takes a read of its own.
struct IndexedVideo {
  VideoRecord record;
  std::vector<PacketRecord> packets;  ///< `record.packet_count` of them
};

/// The sums over all samples.
struct IndexTotals {
  std::uint64_t samples = 0, videos = 0, failures = 0, frames = 0, packets = 0, keyframes = 0;
  std::uint64_t video_bytes = 0;  ///< of the indexed videos' fields
  double seconds = 0;
};

/// An index that is loaded: the facts of every sample are in memory, keyframes and packets stay in
/// the file until they are asked for. Immutable; safe to use from many threads; copies share it.
class ShardIndex {
 public:
  /// Read, check and keep everything but the videos' blocks; the file is not kept open but opened
  /// again for each `read_video`. Errors: kNotFound, kIo, kUnsupported (a version this build does
  /// not know), kCorruptArchive (not an index, damaged, cut). Nothing in a file can make it take
  /// memory beyond a small multiple of the file's size.
  static Result<ShardIndex> load(const std::string& path);
  /// The same from any source; `name` is for messages.
  static Result<ShardIndex> load(std::shared_ptr<const RandomAccess> file, std::string name);

  [[nodiscard]] std::uint64_t count() const noexcept;  ///< of samples, failed ones included
  [[nodiscard]] const IndexTotals& totals() const noexcept;
  [[nodiscard]] const ShardIdentity& shard() const noexcept;
  /// Whether offsets lead into the shard's file: false for a compressed shard.
  [[nodiscard]] bool seekable() const noexcept;
  /// Fields that were taken for the video, in order of preference.
  [[nodiscard]] const std::vector<std::string>& video_fields() const noexcept;
  [[nodiscard]] std::uint64_t memory_bytes() const noexcept;

  /// The sample at position `i` < count(); not its ordinal.
  [[nodiscard]] IndexedSample sample(std::uint64_t i) const;
  /// The position of the first sample with this key. The first call sorts the keys.
  [[nodiscard]] std::optional<std::uint64_t> find(std::string_view key) const;
  /// The position of the sample with this ordinal.
  [[nodiscard]] std::optional<std::uint64_t> find_ordinal(std::uint64_t ordinal) const;
  /// The video of sample `i`, without I/O: `keyframes` and `codec_parameters` are empty. Nothing
  /// where the sample has none that could be read.
  [[nodiscard]] std::optional<VideoRecord> video(std::uint64_t i) const;
  /// The same, whole, by one read. kNotFound where `video` gives nothing.
  [[nodiscard]] Result<IndexedVideo> read_video(std::uint64_t i) const;

  /// An error (kCorruptArchive) that names both files and what differs, unless this is the index of
  /// that shard as it is now.
  Result<void> check_fresh(const RandomAccess& shard, std::string_view shard_name) const;

  /// An error (kCorruptArchive, with the sample's key) unless every video's block is there and has
  /// its checksum: what `load` leaves to `read_video`.
  Result<void> check_blocks() const;

 private:
  struct State;
  explicit ShardIndex(std::shared_ptr<const State> state) : state_(std::move(state)) {}
  std::shared_ptr<const State> state_;  // shared: copies of an index are the same immutable index
};

/// Puts an index together, sample by sample. The same calls give the same bytes. Not thread-safe.
class ShardIndexWriter {
 public:
  ShardIndexWriter(ShardIdentity shard, bool seekable, std::vector<std::string> video_fields);
  ShardIndexWriter(ShardIndexWriter&&) noexcept;
  ~ShardIndexWriter();

  /// Append a sample; ordinals ascend. Without `video` it should have a `failure`. Facts that an
  /// index cannot hold (a negative duration) are kUnsupported, and nothing is appended then.
  Result<void> add(const IndexedSample& sample, const VideoRecord* video = nullptr,
                   std::span<const PacketRecord> packets = {});
  /// The file's bytes. Nothing can be added afterwards.
  [[nodiscard]] std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Put `bytes` at `path`, whole or not at all: temporary name, fsync, rename. Missing folders are
/// made.
Result<void> write_index_file(const std::string& path, std::string_view bytes);

/// Where the index of a shard is: "SHARD.sridx", or with `index_dir` the shard's absolute path (or
/// URL) below it. Nothing for `pipe:` and "-", which have no index.
std::optional<std::string> shard_index_path(std::string_view shard,
                                            std::string_view index_dir = {});

}  // namespace shardreel
