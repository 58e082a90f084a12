#pragma once
// One exchange as libcurl sees it: its easy handle and what the callbacks need.

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "loader/read/http/curl_handles.h"
#include "loader/read/http/http_answer_reader.h"
#include "loader/read/http/http_client.h"

namespace shardreel {

class HttpLink;

/// Lives on the loop's thread. libcurl's callbacks get a pointer to it.
struct Transfer {
  HttpClient::Id id = 0;
  HttpRequest request;
  std::shared_ptr<HttpHandler> handler;  // shared with whoever waits for the outcome
  CurlEasy easy;
  CurlHeaders headers;
  HttpHead head;
  std::string text;
  enum class Body { kUnasked, kTaken, kKept, kRefused } body = Body::kUnasked;
  bool local_refused = false;
  std::chrono::steady_clock::time_point begun, last_byte;
  std::array<char, CURL_ERROR_SIZE> words{};

  // Of a bulk exchange that is read without libcurl (see http_link.h); else empty.
  std::string link_key, request_text;
  std::string unsent;              // of the text
  std::shared_ptr<HttpLink> link;  // shared with nobody else while the exchange runs
  std::unique_ptr<HttpAnswerReader> reader;
  std::uint64_t pauses = 0;  // counted, so that the end of one is not taken for that of another
  enum class Pause { kNone, kHeld, kForMany } pause = Pause::kNone;
  bool slow = false;  // bytes come so slowly that waiting for many makes no sense
  // What is posted or waits for the exchange holds it weakly: gone with it.
  std::shared_ptr<Transfer*> alive = std::make_shared<Transfer*>(this);

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) noexcept;
  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) noexcept;
  static curl_socket_t open_socket(void* self, curlsocktype, curl_sockaddr* address) noexcept;
};

/// Whether a failure is the same when asked again.
[[nodiscard]] bool is_permanent(CURLcode code) noexcept;

}  // namespace shardreel
