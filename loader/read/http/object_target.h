#pragma once
// How to ask for one object: where it is and what a request must carry. One implementation a
// scheme.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "loader/read/http/http_client.h"
#include "loader/read/http/http_url.h"
#include "shardreel/error.h"

namespace shardreel {

/// What `ObjectTarget::prepare` makes: a URL and the headers that only its origin may see.
struct PreparedRequest {
  HttpUrl url;
  std::vector<std::string> headers;
};

/// Used on the loop's thread only, except for `name`.
class ObjectTarget {
 public:
  using Ready = std::function<void(Result<PreparedRequest>)>;

  virtual ~ObjectTarget() = default;

  /// The object for people: a URL without secrets.
  [[nodiscard]] virtual const std::string& name() const noexcept = 0;

  /// Where the object is, without secrets in headers: what tells it from every other.
  [[nodiscard]] virtual std::string address() const = 0;

  /// Make the request for an attempt, now or later on the loop's thread (credentials may have to be
  /// fetched first). `ready` may be called before this returns.
  virtual void prepare(const std::string& method, Ready ready) = 0;

  /// The server refused (400, 401, 403) with this reason. True when another attempt has other
  /// credentials, so that it makes sense.
  virtual bool refused(const std::string& reason) = 0;

  /// Whether a redirect may be followed. Signed requests name their host, and are not.
  [[nodiscard]] virtual bool follows_redirects() const noexcept { return true; }

  /// Where redirects led last time, so that not every range has to ask for the way; forgotten when
  /// anything fails there.
  [[nodiscard]] const std::optional<HttpUrl>& moved_to() const noexcept { return moved_to_; }
  void remember_moved(std::optional<HttpUrl> url) { moved_to_ = std::move(url); }

 private:
  std::optional<HttpUrl> moved_to_;
};

}  // namespace shardreel
