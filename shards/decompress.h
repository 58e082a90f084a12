#pragma once
// Compressed archives as plain streams.

#include <memory>

#include "shardreel/byte_source.h"
#include "shardreel/shard_reader.h"

namespace shardreel {

/// Look at a stream's first bytes and wrap it when they are those of gzip, bzip2, xz, lzma or zstd;
/// the name plays no part. A plain stream comes back with its `random_access` intact. A stream
/// without any bytes is an error (kTruncated).
///
/// Under kStrict all members of a gzip file are read, each with its checksum and length verified,
/// and bytes behind the compressed data that are not zero are an error. Under kCompat a gzip file
/// is read as the reference implementation does: the first member only, nothing verified, and the
/// data ends where the file does.
Result<std::unique_ptr<ByteStream>> decompressed(std::unique_ptr<ByteStream> stream,
                                                 Integrity integrity);

}  // namespace shardreel
