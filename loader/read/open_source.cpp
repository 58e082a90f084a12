#include "loader/read/open_source.h"

#include <fmt/format.h>

#include <string_view>

#include "loader/read/http/http_url.h"
#include "loader/read/http/remote_shape.h"
#include "loader/read/http/remote_sources.h"
#include "loader/read/pipe_stream.h"
#include "loader/read/wait_bound.h"

namespace shardreel {
namespace {

constexpr std::string_view kPipe = "pipe:";
constexpr std::string_view kFile = "file:";

/// The scheme of "scheme://…", or nothing.
std::string_view scheme_of(std::string_view url) {
  const auto at = url.find("://");
  return at == std::string_view::npos ? std::string_view() : url.substr(0, at);
}

}  // namespace

bool may_block(const std::string& url) {
  return url == "-" || url.starts_with(kPipe) || is_remote(url);
}

Result<std::unique_ptr<ByteStream>> open_source(const std::string& url, const InputOptions& options,
                                                boost::asio::io_context& loop,
                                                RemoteSources* remote,
                                                const std::stop_token& stop) {
  const FileCache cache =
      options.page_cache == PageCache::kDrop ? FileCache::kDrop : FileCache::kKeep;
  const PipeTimeouts timeouts{.stall = milliseconds_of(options.stall_timeout),
                              .shard = milliseconds_of(options.shard_timeout)};
  const auto open = [&]() -> Result<std::unique_ptr<ByteStream>> {
    if (url == "-") return open_stdin(loop, timeouts, stop);
    if (url.starts_with(kPipe)) {
      if (!options.allow_pipe) {
        return Error{
            ErrorCode::kNotPermitted, "pipe: is forbidden by allow_pipe = false", {}, {}, {}};
      }
      return open_pipe(loop, url.substr(kPipe.size()), options.integrity == Integrity::kStrict,
                       timeouts, stop);
    }
    if (url.starts_with(kFile)) {
      std::string path = url.substr(kFile.size());
      if (path.starts_with("//localhost/")) path.erase(0, 11);
      if (path.starts_with("///")) path.erase(0, 2);
      return open_file(path, cache);
    }
    if (remote != nullptr && is_remote(url)) return remote->open(url, stop);
    if (const auto scheme = scheme_of(url); !scheme.empty()) {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("no reader for {}:// URLs; use a path, file:, `-`, "
                               "http(s)://, s3://, gs://, hf:// or pipe:COMMAND",
                               scheme),
                   {},
                   {},
                   {}};
    }
    return open_file(url, cache);
  };
  auto stream = open();
  if (!stream) stream.error().at(redacted(url));
  return stream;
}

}  // namespace shardreel
