#pragma once
// The entries of a tar stream through libarchive; the one place where its results become `Error`s.

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
  TarEntryReader(std::unique_ptr<ByteStream> stream, Integrity integrity);
  ~TarEntryReader();

  /// Go to the next entry, skipping what is left of this one; nothing at the end of the archive.
  /// After an error nothing more can be read.
  Result<std::optional<TarEntry>> next();

  /// Whether the reference implementation takes the error that `next` gave for the end of the
  /// archive.
  [[nodiscard]] bool silent_in_reference() const noexcept { return silent_in_reference_; }

  /// After the end: whether two zero blocks marked it (what comes before them is complete then).
  [[nodiscard]] Result<void> check_end_marker() const;
  /// After the end: the offset behind the last member and its padding.
  [[nodiscard]] std::uint64_t members_end() const noexcept;
  /// After the end: read the rest of the stream; an error unless it is zeros and ends well.
  Result<void> check_nothing_behind();
  /// Whether compressed data turned out damaged, so that what it gave before may be wrong as well.
  [[nodiscard]] bool stream_damaged() const noexcept;

  /// Give the current entry's content in pieces, in order, each with its offset; what is not given
  /// reads as zeros. A piece is valid during the call. The sink's error ends it and is returned.
  using Sink = std::function<Result<void>(std::uint64_t offset, std::span<const std::byte> piece)>;
  Result<void> read(const Sink& sink);

  /// The current entry's content as a range of the file; null where the stream is no plain file.
  [[nodiscard]] std::shared_ptr<const RandomAccess> file_range() const;
  /// An error when the current entry's content goes on behind the end of the file; the size of a
  /// stream is not known beforehand.
  [[nodiscard]] Result<void> check_claim() const;

  [[nodiscard]] std::uint64_t position() const noexcept;

 private:
  struct State;
  Result<void> open();
  Error failure(int status, std::uint64_t offset, const char* expected);

  std::unique_ptr<ByteStream> stream_;  ///< until `open`
  Integrity integrity_;
  std::unique_ptr<State> state_;
  bool silent_in_reference_ = false;
};

}  // namespace shardreel
