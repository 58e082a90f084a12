#pragma once
// A GET as it is sent: pure but for the environment's proxies.

#include <string>

#include "loader/read/http/http_client.h"
#include "loader/read/http/http_url.h"
#include "shardreel/error.h"

namespace shardreel {

/// The request with its headers, as libcurl would send it: a header given replaces one of ours, one
/// without a value ("Name:") takes it away, "Name;" is sent empty.
Result<std::string> request_text(const HttpRequest& request, const HttpUrl& url);

/// Whether only libcurl can ask: a proxy that wants to be asked in its own way, or a host that it
/// must write in another way first.
[[nodiscard]] bool needs_libcurl(const HttpRequest& request, const HttpUrl& url);

/// Requests with the same key may follow each other on a connection.
[[nodiscard]] std::string link_key(const HttpRequest& request, const HttpUrl& url);

}  // namespace shardreel
