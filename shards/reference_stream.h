#pragma once
// Compressed archives as the reference implementation decompresses them (compat only).

#include <memory>

#include "shardreel/byte_source.h"

namespace shardreel {

/// Look at a stream's first bytes and wrap it when they are those of gzip, bzip2, xz or lzma. A
/// plain stream comes back with its `random_access` intact; so does zstd, which the reference takes
/// for a broken tar. A stream without any bytes is an error (kTruncated).
///
/// As in Python's tarfile in stream mode: no checksum of gzip is verified, its first member is all
/// that is read; data that is cut ends without an error; damage takes the whole piece of 10,240
/// compressed bytes with it. The result holds what one such piece decompresses to.
Result<std::unique_ptr<ByteStream>> reference_stream(std::unique_ptr<ByteStream> stream);

}  // namespace shardreel
