#pragma once
// The entries of a tar stream as the reference implementation sees them (compat only).
//
// Note [Own headers in compat]: libarchive and Python's tarfile disagree on what only compat has to
// reproduce: extension headers that are damaged, types that libarchive reads as extensions ('A',
// 'V'), prefixes of headers that are not ustar, sparse maps, and where an archive that is broken
// ends. So compat has a reader of its own, after the behaviour of tarfile (Python 3.11) in stream
// mode; strict stands on libarchive.

#include <memory>

#include "shards/tar_entry_reader.h"

namespace shardreel {

/// Takes a stream, compressed or not. What the reference takes for the end of an archive without a
/// word is the end here; what it raises is an error of `next` or `read`.
std::unique_ptr<TarEntryReader> make_reference_tar_reader(std::unique_ptr<ByteStream> stream);

}  // namespace shardreel
