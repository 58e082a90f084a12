#include "loader/read/http/http_transfer.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <span>
#include <string_view>

#include "loader/read/http/http_url.h"

namespace shardreel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostText = 16384;
constexpr std::size_t kMostHeaders = 256;

/// Whether the environment names a proxy of this machine at this port.
bool is_local_proxy(std::uint16_t port) noexcept {
  try {
    for (const char* name :
         {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
      const char* value = std::getenv(name);
      if (value == nullptr || *value == '\0') continue;
      const std::string text(value);
      const auto proxy = parse_http_url(text.find("://") == text.npos ? "http://" + text : text);
      if (proxy && reach_of(proxy->host) == HostReach::kMachine &&
          proxy->port == std::to_string(port)) {
        return true;
      }
    }
  } catch (const std::exception&) {  // only an allocation can throw here
  }
  return false;
}

}  // namespace

std::size_t Transfer::on_header(char* data, std::size_t, std::size_t size, void* self) noexcept {
  auto& transfer = *static_cast<Transfer*>(self);
  transfer.last_byte = Clock::now();
  try {
    std::string_view line(data, size);
    while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
    if (line.starts_with("HTTP/")) {  // a new answer: what came before was provisional (1xx)
      transfer.head = HttpHead();
      const std::size_t space = line.find(' ');
      if (space != std::string_view::npos) {
        std::from_chars(line.data() + space + 1, line.data() + line.size(), transfer.head.status);
      }
      return size;
    }
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || transfer.head.headers.size() >= kMostHeaders) {
      return size;
    }
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) {
      value.remove_prefix(1);
    }
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    transfer.head.headers.emplace_back(lower_case(line.substr(0, colon)), value);
  } catch (const std::exception&) {
    return 0;  // only an allocation can throw here
  }
  return size;
}

std::size_t Transfer::on_body(char* data, std::size_t, std::size_t size, void* self) noexcept {
  auto& transfer = *static_cast<Transfer*>(self);
  transfer.last_byte = Clock::now();
  try {
    if (transfer.body == Body::kUnasked) {
      transfer.body = transfer.handler->on_head(transfer.head) ? Body::kTaken : Body::kKept;
    }
    if (transfer.body == Body::kTaken) {
      if (transfer.handler->on_bytes(std::as_writable_bytes(std::span(data, size)))) return size;
      transfer.body = Body::kRefused;
      return 0;
    }
    transfer.text.append(data, std::min(size, kMostText - transfer.text.size()));
    // An error's text is short and worth the connection; anything longer is not read to its end.
    return transfer.text.size() < kMostText ? size : 0;
  } catch (const std::exception&) {
    return 0;
  }
}

/// Look at the address that a name resolved to, too: a server could name anything.
curl_socket_t Transfer::open_socket(void* self, curlsocktype, curl_sockaddr* address) noexcept {
  auto& transfer = *static_cast<Transfer*>(self);
  if (transfer.request.refuse_machine || transfer.request.refuse_link) {
    const auto* bytes = reinterpret_cast<const unsigned char*>(&address->addr);
    HostReach reach = HostReach::kAnywhere;
    std::uint16_t port = 0;  // at the same place for both families
    std::memcpy(&port, bytes + offsetof(sockaddr_in, sin_port), sizeof port);
    if (address->family == AF_INET) reach = reach_of_ipv4(bytes + offsetof(sockaddr_in, sin_addr));
    if (address->family == AF_INET6) {
      reach = reach_of_ipv6(bytes + offsetof(sockaddr_in6, sin6_addr));
    }
    const bool refused = (reach == HostReach::kMachine && transfer.request.refuse_machine) ||
                         (reach == HostReach::kLink && transfer.request.refuse_link);
    // A proxy of this machine is the user's own; what lies behind it, it decides.
    if (refused && !(transfer.request.use_proxy && is_local_proxy(ntohs(port)))) {
      transfer.local_refused = true;
      return CURL_SOCKET_BAD;
    }
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

bool is_permanent(CURLcode code) noexcept {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_FAILED_INIT:
    case CURLE_NOT_BUILT_IN: return true;
    default: return false;
  }
}

}  // namespace shardreel
