#pragma once
// Bytes from a pipe: a `pipe:` command's output, or standard input. Read asynchronously into a
// small buffer by the event loop, so that a silent writer can be given up at once.

#include <chrono>
#include <memory>
#include <stop_token>
#include <string>

#include "shardreel/byte_source.h"
#include "shardreel/error.h"

namespace boost::asio {
class io_context;
}

namespace shardreel {

/// How long a reader waits for bytes: for the next one, and for all of them together.
struct PipeTimeouts {
  std::chrono::milliseconds stall, shard;
};

/// Start `/bin/sh -c command` in a process group of its own and read its standard output. The
/// stream ends with kPipeFailed when the command ends with a status other than 0 (with
/// `check_status`), and with kIo when a reader waits longer than `timeouts`. `stop`, the stream's
/// destruction, or the end of this process, whatever ends it, kills the whole group. The loop must
/// outlive the stream.
Result<std::unique_ptr<ByteStream>> open_pipe(boost::asio::io_context& loop,
                                              const std::string& command, bool check_status,
                                              const PipeTimeouts& timeouts,
                                              const std::stop_token& stop);

/// Read standard input, once. A redirected regular file is read as such.
Result<std::unique_ptr<ByteStream>> open_stdin(boost::asio::io_context& loop,
                                               const PipeTimeouts& timeouts,
                                               const std::stop_token& stop);

}  // namespace shardreel
