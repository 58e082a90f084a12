#pragma once
// Read the samples of one tar shard in order.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <shardreel/byte_source.h>
#include <shardreel/sample.h>

namespace shardreel {

/// How to treat what webdataset loses silently (docs/format.md lists the cases).
/// `kStrict` reports each as a failure; `kCompat` behaves as the reference implementation does.
enum class Integrity { kStrict, kCompat };

struct ShardReaderOptions {
  Integrity integrity = Integrity::kStrict;
  /// Gives the memory of members that are read whole. Borrowed; must outlive the reader's samples.
  ByteAllocator* allocator = nullptr;  // null = heap_allocator()
  /// Members up to this size are read whole. Larger ones become a range of the file where the shard
  /// is a plain uncompressed tar on disk, else they are spooled to an unlinked file in `spool_dir`.
  std::uint64_t member_inline_bytes = std::uint64_t{64} << 20;
  /// A member that claims more is a failure of its sample (kTooLarge).
  std::uint64_t max_member_bytes = std::uint64_t{64} << 30;
  std::string spool_dir;  ///< empty = $TMPDIR, else /tmp
  /// Fields that may be larger than `member_inline_bytes`; any other that is larger fails its
  /// sample (kMemory), because it has to travel in memory. Empty = every field may.
  std::vector<std::string> large_fields;
  /// Samples to give: those with ordinal % modulo == remainder. The others keep their place in the
  /// count, and their content is passed over.
  std::uint64_t modulo = 1, remainder = 0;
};

/// The failure that a member of this field and size is under these options; nothing when it is
/// read.
std::optional<Error> refuse_size(const ShardReaderOptions& options, std::string_view field,
                                 std::uint64_t size);

/// What one step of reading gave.
struct ShardEnd {
  /// What to say of a shard that was whole and gave nothing at all: no sample, no failure.
  std::optional<std::string> empty = std::nullopt;
};
struct NeedsMemory {
  std::uint64_t bytes;  ///< what the allocator refused; call `step` again once there is room
};
/// A sample that could not be read whole. Reading may go on behind it unless `fatal`.
struct FailedSample {
  Error error;
  std::uint64_t ordinal = 0;  ///< the place it takes among the shard's samples
  bool fatal = false;         ///< the rest of the shard is lost (the next step gives ShardEnd)
};
using ReadStep = std::variant<Sample, FailedSample, NeedsMemory, ShardEnd>;

/// Takes a byte stream; gives its samples in order, grouped as WebDataset does. Holds at most one
/// sample that is being put together plus one block of the stream. Waits only inside the stream's
/// `read`. Not thread-safe.
class ShardReader {
 public:
  /// `shard` names the stream in samples and errors. Nothing is read before the first `step`.
  ShardReader(std::unique_ptr<ByteStream> stream, std::string shard, ShardReaderOptions options);
  ShardReader(ShardReader&&) noexcept;
  ShardReader& operator=(ShardReader&&) noexcept;
  ~ShardReader();

  /// Read on until a sample is complete, a sample failed, memory is refused or the shard ends.
  ReadStep step();

  /// After NeedsMemory: do not wait for it. The sample that is being put together fails with
  /// `error` (given by the next step), and reading goes on behind it.
  void refuse(Error error);

  /// Byte offset reached in the decompressed archive, for progress and stall messages.
  [[nodiscard]] std::uint64_t position() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
