#pragma once
// The entries of a tar stream.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/shard_reader.h"

namespace shardreel {

struct TarEntry {
  std::string name;          ///< raw bytes
  std::uint64_t size = 0;    ///< logical: holes of sparse files included
  std::uint64_t offset = 0;  ///< of its first header block (of an extension header, if it has one)
  bool regular = false;      ///< a file with content of its own: no link, directory or device
  bool range = false;        ///< the content is [data_offset, data_offset + size) of the stream
  std::uint64_t data_offset = 0;
};

/// Takes a stream, compressed or not; gives its entries in order. Not thread-safe.
class TarEntryReader {
 public:
  /// Strict stands on libarchive; compat sees what the reference implementation sees.
  static std::unique_ptr<TarEntryReader> make(std::unique_ptr<ByteStream> stream,
                                              Integrity integrity);
  TarEntryReader() = default;
  TarEntryReader(const TarEntryReader&) = delete;
  TarEntryReader& operator=(const TarEntryReader&) = delete;
  virtual ~TarEntryReader() = default;

  /// Go to the next entry, skipping what is left of this one; nothing at the end of the archive.
  /// After an error nothing more can be read.
  virtual Result<std::optional<TarEntry>> next() = 0;

  /// After the end: whether two zero blocks marked it (what comes before them is complete then).
  [[nodiscard]] virtual Result<void> check_end_marker() const = 0;
  /// After the end: the offset behind the last member and its padding.
  [[nodiscard]] virtual std::uint64_t members_end() const noexcept = 0;
  /// After the end: read the rest of the stream; an error unless it is zeros and ends well.
  virtual Result<void> check_nothing_behind() = 0;
  /// Whether compressed data turned out damaged, so that what it gave before may be wrong as well.
  [[nodiscard]] virtual bool stream_damaged() const noexcept = 0;

  /// Give the current entry's content in pieces, in order, each with its offset; what is not given
  /// reads as zeros. A piece is valid during the call. The sink's error ends it and is returned.
  using Sink = std::function<Result<void>(std::uint64_t offset, std::span<const std::byte> piece)>;
  virtual Result<void> read(const Sink& sink) = 0;

  /// Read the current entry's content whole into `into`, which is as large as it, holes as zeros.
  /// Large contents of a plain file go there without passing through a buffer.
  virtual Result<void> read_into(std::span<std::byte> into);

  /// Go to the end of the current entry's content without giving it; an error as `read` would give
  /// where that is known without reading.
  virtual Result<void> pass_over() = 0;

  /// The current entry's content as a range of the file; null where the stream is no plain file.
  [[nodiscard]] virtual std::shared_ptr<const RandomAccess> file_range() const = 0;
  /// An error when the current entry's content goes on behind the end of the file; the size of a
  /// stream is not known beforehand.
  [[nodiscard]] virtual Result<void> check_claim() const = 0;

  /// Byte offset reached in the decompressed archive.
  [[nodiscard]] virtual std::uint64_t position() const noexcept = 0;
};

}  // namespace shardreel
