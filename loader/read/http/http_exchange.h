#pragma once
// One small request and its answer, waited for.

#include <memory>
#include <stop_token>
#include <string>

#include "loader/read/http/http_client.h"
#include "shardreel/error.h"

namespace shardreel {

struct HttpAnswer {
  HttpHead head;
  std::string body;  ///< at most 1 MiB
};

/// Send a request and wait for the whole answer, whatever its status. Never on the loop's thread.
/// kIo when none came, kStopped when `stop` was asked for.
Result<HttpAnswer> http_exchange(const std::weak_ptr<HttpClient>& client, HttpRequest request,
                                 const std::stop_token& stop);

}  // namespace shardreel
