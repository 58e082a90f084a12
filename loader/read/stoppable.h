#pragma once
// A stream that can be given up between any two reads.

#include <memory>
#include <stop_token>

#include "shardreel/byte_source.h"

namespace shardreel {

/// Wrap a stream, and the random access it offers: each read fails with kStopped once `stop` was
/// asked for. What runs long over many reads (spooling a large member, scanning a large video) then
/// ends.
std::unique_ptr<ByteStream> stoppable(std::unique_ptr<ByteStream> stream, std::stop_token stop);

}  // namespace shardreel
