#pragma once
// A sample of a WebDataset shard: the consecutive members that share a key.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <shardreel/byte_source.h>

namespace shardreel {

/// One member of a sample. `name` is the extension, lower-cased ("mp4", "seg.jpg"); raw bytes, any
/// encoding.
struct Field {
  std::string name;
  std::uint64_t offset = 0;  ///< of the member's header in the decompressed archive, bytes
  std::uint64_t size = 0;    ///< of its content, bytes
  /// The content: bytes in memory, a range of the shard's file, or an unlinked spool file.
  std::shared_ptr<const RandomAccess> content;
  bool in_memory = false;  ///< whether `content` is held in memory that the allocator gave
  /// Whether the content lies in the decompressed archive in one piece, from `content_offset` on;
  /// not so for sparse members.
  bool contiguous = false;
  std::uint64_t content_offset = 0;  ///< bytes; 0 unless `contiguous`
  std::string written_name;  ///< as the archive has it, where lower-casing changed it; else empty

  /// Read the whole content into a string (a copy); for small fields.
  [[nodiscard]] Result<std::string> text() const;
};

struct Sample {
  std::string key;    ///< with its directory, raw bytes
  std::string shard;  ///< the URL the shard was opened as
  /// Position among the samples of its shard; failed ones and those marked `__bad__` count.
  std::uint64_t ordinal = 0;
  std::uint64_t offset = 0;  ///< of the first member's header in the decompressed archive, bytes
  std::uint64_t end_offset = 0;  ///< behind the last member's content and padding
  std::vector<Field> fields;     ///< in the archive's order

  /// Return the first field with this name, or null.
  [[nodiscard]] const Field* find(std::string_view name) const;
};

}  // namespace shardreel
