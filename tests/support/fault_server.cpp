#include "tests/support/fault_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <stdexcept>

#include "tests/support/scratch.h"

namespace shardreel::testing {
namespace {

/// A certificate for 127.0.0.1 that signs itself, made once a process.
struct Certificate {
  Certificate() {
    run_command(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1 "
        "-keyout " +
        dir / "key.pem" + " -out " + dir / "cert.pem" + " 2>&1");
  }
  ScratchDir dir;
};
Certificate& certificate() {
  static Certificate made;
  return made;
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

}  // namespace

FaultReply range_reply(const SeenRequest& request, const std::string& content,
                       const std::string& etag) {
  FaultReply reply;
  reply.headers = {{"ETag", etag}, {"Accept-Ranges", "bytes"}};
  const std::string match = request.header("if-match");
  if (!match.empty() && match != etag) {
    reply.status = 412;
    return reply;
  }
  const std::string range = request.header("range");
  if (!range.starts_with("bytes=")) {
    reply.body = content;
    return reply;
  }
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  const char* end = range.data() + range.size();
  const auto dash = std::from_chars(range.data() + 6, end, first);
  std::from_chars(dash.ptr + 1, end, last);
  if (first >= content.size()) {
    reply.status = 416;
    reply.headers.emplace_back("Content-Range", fmt::format("bytes */{}", content.size()));
    return reply;
  }
  last = std::min<std::uint64_t>(last, content.size() - 1);
  reply.status = 206;
  reply.headers.emplace_back("Content-Range",
                             fmt::format("bytes {}-{}/{}", first, last, content.size()));
  reply.body = content.substr(first, last - first + 1);
  return reply;
}

namespace {

std::string in_chunks(const std::string& body, std::size_t chunk_bytes) {
  std::string text;
  for (std::size_t at = 0; at < body.size(); at += chunk_bytes) {
    const std::string chunk = body.substr(at, chunk_bytes);
    text += fmt::format("{:x}\r\n{}\r\n", chunk.size(), chunk);
  }
  return text + "0\r\n\r\n";
}

}  // namespace

/// Bytes over a socket, with or without TLS.
class FaultServer::Connection {
 public:
  Connection(int fd, SSL_CTX* tls) : fd_(fd) {
    if (tls != nullptr) {
      ssl_ = SSL_new(tls);
      SSL_set_fd(ssl_, fd);
      good_ = SSL_accept(ssl_) == 1;
    }
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    if (ssl_ != nullptr) SSL_free(ssl_);
  }
  [[nodiscard]] bool good() const { return good_; }

  std::size_t receive(char* into, std::size_t bytes) {
    const ssize_t got =
        ssl_ != nullptr ? SSL_read(ssl_, into, static_cast<int>(bytes)) : recv(fd_, into, bytes, 0);
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  bool send_all(std::string_view text) {
    while (!text.empty()) {
      const ssize_t put = ssl_ != nullptr
                              ? SSL_write(ssl_, text.data(), static_cast<int>(text.size()))
                              : send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (put <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(put));
    }
    return true;
  }
  void reset() const {
    const linger hard{1, 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  }
  /// Until the client closes, or the server does.
  void wait_for_close() const {
    pollfd look{fd_, POLLRDHUP, 0};
    while (poll(&look, 1, -1) < 0) {
    }
  }

 private:
  int fd_;
  SSL* ssl_ = nullptr;
  bool good_ = true;
};

FaultServer::FaultServer(Handler handler, Kind kind) : handler_(std::move(handler)), kind_(kind) {
  signal(SIGPIPE, SIG_IGN);  // SSL_write has no MSG_NOSIGNAL
  if (kind_ == Kind::kTls) {
    SSL_CTX* context = SSL_CTX_new(TLS_server_method());
    tls_ = std::shared_ptr<void>(context,
                                 [](void* made) { SSL_CTX_free(static_cast<SSL_CTX*>(made)); });
    if (SSL_CTX_use_certificate_file(context, ca_file().c_str(), SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, (certificate().dir / "key.pem").c_str(),
                                    SSL_FILETYPE_PEM) != 1) {
      throw std::runtime_error("the test server's certificate");
    }
  }
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      listen(listener_, 128) != 0 ||
      getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    throw std::runtime_error("the test server's socket");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept(); });
}

FaultServer::~FaultServer() {
  stopping_ = true;
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  close(listener_);
  {
    const std::lock_guard lock(mutex_);
    for (const int fd : open_) shutdown(fd, SHUT_RDWR);
  }
  for (std::thread& thread : threads_) thread.join();
}

std::string FaultServer::ca_file() { return certificate().dir / "cert.pem"; }

std::string FaultServer::url(const std::string& path) const {
  return fmt::format("{}://127.0.0.1:{}{}", kind_ == Kind::kTls ? "https" : "http", port_, path);
}

std::vector<SeenRequest> FaultServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void FaultServer::accept() {
  while (!stopping_) {
    const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ++connections_;
    const int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    const std::lock_guard lock(mutex_);
    open_.push_back(fd);
    threads_.emplace_back([this, fd] { serve(fd); });
  }
}

void FaultServer::serve(int fd) {
  {
    Connection connection(fd, static_cast<SSL_CTX*>(tls_.get()));
    while (connection.good() && !stopping_ && answer(connection)) {
    }
  }
  const std::lock_guard lock(mutex_);
  std::erase(open_, fd);
  close(fd);
}

/// One exchange; false when the connection is over.
bool FaultServer::answer(Connection& connection) {
  std::string head;
  char c = 0;
  while (!head.ends_with("\r\n\r\n")) {
    if (connection.receive(&c, 1) == 0) return false;
    head += c;
  }
  SeenRequest request;
  std::size_t line_end = head.find("\r\n");
  const std::string first = head.substr(0, line_end);
  request.method = first.substr(0, first.find(' '));
  request.target = first.substr(request.method.size() + 1);
  request.target.erase(request.target.rfind(' '));
  while (line_end + 2 < head.size() - 2) {
    const std::size_t begin = line_end + 2;
    line_end = head.find("\r\n", begin);
    const std::string line = head.substr(begin, line_end - begin);
    const std::size_t colon = line.find(':');
    request.headers[lower(line.substr(0, colon))] =
        line.substr(std::min(line.find_first_not_of(' ', colon + 1), line.size()));
  }
  const std::string length = request.header("content-length");
  request.body.resize(length.empty() ? 0 : std::stoul(length));
  for (std::size_t got = 0; got < request.body.size();) {
    const std::size_t more =
        connection.receive(request.body.data() + got, request.body.size() - got);
    if (more == 0) return false;
    got += more;
  }
  FaultReply reply;
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
    reply = handler_(request);
  }
  const int now = ++at_once_;
  int most = most_at_once_;
  while (now > most && !most_at_once_.compare_exchange_weak(most, now)) {
  }
  struct Leave {
    std::atomic<int>& count;
    ~Leave() { --count; }
  } leave{at_once_};
  if (reply.delay.count() > 0) std::this_thread::sleep_for(reply.delay);
  if (reply.no_answer) return false;
  std::string text = fmt::format("HTTP/1.1 {} Text\r\n", reply.status);
  for (const auto& [name, value] : reply.headers) text += fmt::format("{}: {}\r\n", name, value);
  if (reply.chunk_bytes > 0) {
    reply.body = in_chunks(reply.body, reply.chunk_bytes);
    text += "Transfer-Encoding: chunked\r\n";
  } else if (reply.say_length) {
    text += fmt::format("Content-Length: {}\r\n", reply.content_length.value_or(reply.body.size()));
  } else {
    text += "Connection: close\r\n";
  }
  if (!connection.send_all(text + "\r\n")) return false;
  if (request.method == "HEAD") return true;
  const std::size_t end =
      std::min({reply.body.size(), reply.cut_after, reply.reset_after, reply.stall_after});
  for (std::size_t sent = 0; sent < end;) {
    const std::size_t piece = std::min(end - sent, reply.piece_bytes);
    body_bytes_ += piece;  // first: who has received them may count at once
    if (!connection.send_all(std::string_view(reply.body).substr(sent, piece))) return false;
    sent += piece;
    if (reply.piece_delay.count() > 0) std::this_thread::sleep_for(reply.piece_delay);
  }
  if (reply.stall_after <= end && reply.stall_after != FaultReply::kNever) {
    connection.wait_for_close();
    return false;
  }
  if (reply.reset_after <= end && reply.reset_after != FaultReply::kNever) connection.reset();
  const bool whole = reply.cut_after == FaultReply::kNever &&
                     reply.reset_after == FaultReply::kNever && reply.say_length &&
                     !reply.close_after &&
                     reply.content_length.value_or(reply.body.size()) == reply.body.size();
  return whole;
}

}  // namespace shardreel::testing
