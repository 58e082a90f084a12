#pragma once
// From a shard's URL to its bytes. Further schemes are further cases here.

#include <memory>
#include <stop_token>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"
#include "shardreel/options.h"

namespace boost::asio {
class io_context;
}

namespace shardreel {

class RemoteSources;

/// Open `url`: a path, `file:PATH`, `-`, `pipe:COMMAND`, or what `remote` takes (null: nothing).
/// Errors name the URL.
Result<std::unique_ptr<ByteStream>> open_source(const std::string& url, const InputOptions& options,
                                                boost::asio::io_context& loop,
                                                RemoteSources* remote, const std::stop_token& stop);

/// Whether reading `url` may block for as long as it likes (a pipe, the network), unlike a local
/// file.
[[nodiscard]] bool may_block(const std::string& url);

}  // namespace shardreel
