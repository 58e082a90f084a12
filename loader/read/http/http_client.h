#pragma once
// HTTP/1.1 requests on the event loop: libcurl's multi interface, driven by Asio; large bodies are
// read without it (see http_link.h). One request is one exchange: no redirects, no retries (see
// range_fetch.h).

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardreel/error.h"

namespace boost::asio {
class io_context;
}

namespace shardreel {

struct HttpRequest {
  std::string url;  ///< http or https, encoded
  std::string method = "GET";
  std::vector<std::string> headers;  ///< "Name: value"
  std::string body;                  ///< of PUT and POST
  /// Refuse to connect to addresses of this machine, or of the link (169.254…, fe80…): for what a
  /// server, not the user, has named.
  bool refuse_machine = false, refuse_link = false;
  bool use_proxy = true;  ///< as the environment says (http_proxy, no_proxy, …)
  bool urgent = false;    ///< goes before what waits for a connection
  /// A GET whose body is large: read it without libcurl (see `HttpHandler::on_body`) where that can
  /// be done.
  bool bulk = false;
};

/// A response's status line and headers.
struct HttpHead {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  ///< names in lower case

  /// The header's value, or nothing; the last one where it is repeated.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view lower_name) const;
};

/// How an exchange ended.
struct HttpOutcome {
  HttpHead head;           ///< status 0: no answer came
  std::string failure;     ///< what cut the exchange short, for people; empty = it ended well
  bool permanent = false;  ///< asking again cannot help (a certificate, an address that is refused)
  std::string text;        ///< the start of a body that was not taken, at most 16 KiB
};

/// The body of an answer, read straight from its connection.
class HttpBody {
 public:
  virtual ~HttpBody() = default;
  /// Move what has come to `into`, at most as much as it holds. Never waits: 0 = nothing came, or
  /// nothing is left.
  virtual std::size_t read(std::span<std::byte> into) = 0;
};

/// Follows one exchange; called on the loop's thread only, never from within another call.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  /// Before the first byte of a body: whether the handler takes it. What it does not take is kept
  /// as `HttpOutcome::text` where short, and cut off.
  virtual bool on_head(const HttpHead& head) = 0;
  /// Take bytes; false cuts the exchange.
  virtual bool on_bytes(std::span<const std::byte> bytes) = 0;
  enum class Next { kMore, kHold, kCut };
  /// With `HttpRequest::bulk`, perhaps in place of `on_bytes`: some may have come. Read to where
  /// they belong, or leave them. After kHold it is called again when `HttpClient::go_on` was, or
  /// after `hold_time`; kCut ends the exchange.
  virtual Next on_body(HttpBody& body);
  virtual void on_done(const HttpOutcome& outcome) = 0;
};

struct HttpClientOptions {
  std::size_t connections = 16;  ///< exchanges at one time; the others wait in line
  std::size_t buffer_bytes = std::size_t{256} << 10;  ///< of each, and the most of one read
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds request_timeout{60'000};  ///< of one exchange
  std::chrono::milliseconds stall_timeout{15'000};    ///< without a byte
  std::chrono::milliseconds hold_time{10};            ///< of `HttpHandler::Next::kHold`
  std::string ca_file;  ///< empty = $CURL_CA_BUNDLE, $SSL_CERT_FILE, else the system's
};

/// Thread-safe. The loop may outlive it: what is in flight is dropped without further calls.
class HttpClient {
 public:
  HttpClient(boost::asio::io_context& loop, HttpClientOptions options);
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;
  ~HttpClient();

  using Id = std::uint64_t;
  /// Begin an exchange; `handler` is kept until its `on_done` or its cancellation.
  Id start(HttpRequest request, std::shared_ptr<HttpHandler> handler);
  /// Drop an exchange: no calls follow, but one may be running now.
  void cancel(Id id);
  /// Call the `on_body` that holds an exchange again now.
  void go_on(Id id);

  [[nodiscard]] boost::asio::io_context& loop() const noexcept;
  [[nodiscard]] const HttpClientOptions& options() const noexcept;

 private:
  class State;
  std::shared_ptr<State> state_;  // shared with what is posted to the loop
};

}  // namespace shardreel
