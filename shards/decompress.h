#pragma once
// Compressed archives as plain streams.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "shardreel/byte_source.h"

namespace shardreel {

/// So many first bytes tell a compressed stream from a plain one.
constexpr std::size_t kMagicBytes = 10;

/// Whether a stream that begins with `head` is one that `decompressed` would decompress.
[[nodiscard]] bool is_compressed(std::span<const std::byte> head);

/// Look at up to `bytes` first bytes of a stream; afterwards `stream` gives them again. A stream
/// without any bytes is an error (kTruncated).
Result<std::vector<std::byte>> look_ahead(std::unique_ptr<ByteStream>& stream, std::size_t bytes);

/// Look at a stream's first bytes and wrap it when they are those of gzip, bzip2, xz, lzma or zstd;
/// the name plays no part. A plain stream comes back with its `random_access` intact. A stream
/// without any bytes is an error (kTruncated).
///
/// All members of a gzip file are read, each with its checksum and length verified, and bytes
/// behind the compressed data that are not zero are an error.
Result<std::unique_ptr<ByteStream>> decompressed(std::unique_ptr<ByteStream> stream);

}  // namespace shardreel
