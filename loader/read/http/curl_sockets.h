#pragma once
// The sockets of a libcurl multi handle, watched by Asio.

#include <curl/curl.h>

#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>

namespace shardreel {

/// On the loop's thread. Outlives the multi handle, which holds a pointer to it.
class CurlSockets {
 public:
  /// A socket and what libcurl calls its events (CURL_CSELECT_...).
  using Act = std::function<void(int fd, int events)>;
  CurlSockets(boost::asio::io_context& loop, CURLM* multi, Act act);
  CurlSockets(const CurlSockets&) = delete;
  CurlSockets& operator=(const CurlSockets&) = delete;
  ~CurlSockets();

  /// Somebody else looks at this socket from now on.
  void forget(int fd);

 private:
  struct Watch;
  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept;
  void wait_for(int fd, const std::shared_ptr<Watch>& watch);

  boost::asio::io_context& loop_;
  const Act act_;
  std::map<int, std::shared_ptr<Watch>> watches_;  // shared with nobody: weak in the waits
};

}  // namespace shardreel
