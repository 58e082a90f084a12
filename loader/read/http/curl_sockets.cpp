#include "loader/read/http/curl_sockets.h"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <exception>
#include <utility>

namespace shardreel {

/// A socket that libcurl wants to hear of. The descriptor is libcurl's: never closed here.
struct CurlSockets::Watch {
  explicit Watch(boost::asio::io_context& loop, int fd) : descriptor(loop, fd) {}
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { forget(); }
  /// A handler that runs now may hold the watch: the descriptor must be free for the next one
  /// before, or the reactor refuses it, and libcurl with a failed callback ends every transfer.
  void forget() {
    if (descriptor.is_open()) descriptor.release();
  }
  boost::asio::posix::stream_descriptor descriptor;
  bool wants_read = false, wants_write = false;
  bool reading = false, writing = false;  // a wait is in flight
};

CurlSockets::CurlSockets(boost::asio::io_context& loop, CURLM* multi, Act act)
    : loop_(loop), act_(std::move(act)) {
  curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, &CurlSockets::on_socket);
  curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, this);
}

CurlSockets::~CurlSockets() = default;

void CurlSockets::forget(int fd) {
  const auto found = watches_.find(fd);
  if (found == watches_.end()) return;
  found->second->forget();
  watches_.erase(found);
}

int CurlSockets::on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept {
  auto& sockets = *static_cast<CurlSockets*>(self);
  try {
    if (what == CURL_POLL_REMOVE) {
      sockets.forget(fd);
      return 0;
    }
    auto& watch = sockets.watches_[fd];
    if (!watch) watch = std::make_shared<Watch>(sockets.loop_, fd);
    watch->wants_read = (what & CURL_POLL_IN) != 0;
    watch->wants_write = (what & CURL_POLL_OUT) != 0;
    sockets.wait_for(fd, watch);
  } catch (const std::exception&) {
    return -1;
  }
  return 0;
}

void CurlSockets::wait_for(int fd, const std::shared_ptr<Watch>& watch) {
  using boost::asio::posix::descriptor_base;
  const auto wait = [&](bool wanted, bool Watch::*waiting, descriptor_base::wait_type kind,
                        int event) {
    if (!wanted || (*watch).*waiting) return;
    (*watch).*waiting = true;
    watch->descriptor.async_wait(kind, [this, weak = std::weak_ptr(watch), waiting, event,
                                        fd](const boost::system::error_code& error) {
      const auto again = weak.lock();  // gone with this object, too
      if (!again || error == boost::asio::error::operation_aborted) return;
      (*again).*waiting = false;
      act_(fd, error ? CURL_CSELECT_ERR : event);
      // libcurl tells of changes only: go on waiting while it still has this socket.
      const auto found = watches_.find(fd);
      if (found != watches_.end() && found->second == again) wait_for(fd, again);
    });
  };
  wait(watch->wants_read, &Watch::reading, descriptor_base::wait_read, CURL_CSELECT_IN);
  wait(watch->wants_write, &Watch::writing, descriptor_base::wait_write, CURL_CSELECT_OUT);
}

}  // namespace shardreel
