#pragma once
// One exchange as libcurl sees it: its easy handle and what the callbacks need.

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "loader/read/http/curl_handles.h"
#include "loader/read/http/http_client.h"

namespace shardreel {

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
  std::chrono::steady_clock::time_point last_byte;
  std::array<char, CURL_ERROR_SIZE> words{};

  static std::size_t on_header(char* data, std::size_t, std::size_t size, void* self) noexcept;
  static std::size_t on_body(char* data, std::size_t, std::size_t size, void* self) noexcept;
  static curl_socket_t open_socket(void* self, curlsocktype, curl_sockaddr* address) noexcept;
};

/// Whether a failure is the same when asked again.
[[nodiscard]] bool is_permanent(CURLcode code) noexcept;

}  // namespace shardreel
