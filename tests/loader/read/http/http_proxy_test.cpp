// Proxies of the environment: asked in their own way for http, tunnelled through for https.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/loader/read/http/remote_fixture.h"
#include "tests/support/fault_server.h"

namespace shardreel {
namespace {

using testing::FaultReply;
using testing::FaultServer;
using testing::pattern;
using testing::range_reply;
using testing::Remote;
using testing::SeenRequest;

/// A variable of the environment for as long as this lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { unsetenv(name_); }

 private:
  const char* name_;
};

/// Answers CONNECT and passes bytes on, both ways, to a port of this machine.
class Tunnel {
 public:
  explicit Tunnel(std::uint16_t to, std::string answer = "HTTP/1.1 200 Go on\r\n\r\n")
      : to_(to), answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
        listen(listener_, 16) != 0 ||
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("the tunnel's socket");
    }
    url = fmt::format("http://127.0.0.1:{}", ntohs(address.sin_port));
    acceptor_ = std::thread([this] { accept_all(); });
  }
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;
  ~Tunnel() {
    stopping_ = true;
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (std::thread& thread : threads_) thread.join();
    for (const int fd : open_) close(fd);
    close(listener_);
  }
  [[nodiscard]] std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  std::string url;

 private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }
  void accept_all() {
    while (!stopping_) {
      const int fd = accept(listener_, nullptr, nullptr);
      if (fd < 0) continue;
      open_.push_back(fd);
      serve(fd);
    }
  }
  void serve(int from) {
    std::string head;
    char c = 0;
    while (!head.ends_with("\r\n\r\n") && recv(from, &c, 1, 0) == 1) head += c;
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back(head.substr(0, head.find("\r\n")));
    }
    const int to = socket(AF_INET, SOCK_STREAM, 0);
    open_.push_back(to);
    const sockaddr_in address = loopback(to_);
    if (connect(to, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        send(from, answer_.data(), answer_.size(), MSG_NOSIGNAL) < 0 ||
        answer_.find(" 200 ") == std::string::npos) {
      shutdown(from, SHUT_RDWR);
      return;
    }
    threads_.emplace_back([from, to] { pass(from, to); });
    threads_.emplace_back([from, to] { pass(to, from); });
  }
  static void pass(int from, int to) {
    std::array<char, 65536> block;
    for (ssize_t got = 0; (got = recv(from, block.data(), block.size(), 0)) > 0;) {
      for (ssize_t sent = 0; sent < got;) {
        const auto left = static_cast<std::size_t>(got - sent);
        const ssize_t put = send(to, block.data() + sent, left, MSG_NOSIGNAL);
        if (put <= 0) break;
        sent += put;
      }
    }
    shutdown(from, SHUT_RDWR);
    shutdown(to, SHUT_RDWR);
  }

  const std::uint16_t to_;
  const std::string answer_;
  const int listener_;
  std::atomic<bool> stopping_{false};
  std::vector<int> open_;             // the acceptor's
  std::vector<std::thread> threads_;  // the acceptor's
  mutable std::mutex mutex_;
  std::vector<std::string> asked_;
  std::thread acceptor_;  // last: it uses the rest
};

FaultServer::Handler good(const std::string& content) {
  return [content](const SeenRequest& request) { return range_reply(request, content, "\"v1\""); };
}

TEST(HttpProxy, IsAskedInItsOwnWayForHttp) {
  const std::string content = pattern(1'000'000);
  const FaultServer proxy(good(content));  // knows every object
  const Variable variable("http_proxy", proxy.url(""));
  Remote remote;
  const auto read = remote.read_all("http://shards.example/a.tar");
  ASSERT_TRUE(read) << read.error().describe();
  EXPECT_TRUE(*read == content);
  for (const SeenRequest& request : proxy.requests()) {
    EXPECT_EQ(request.target, "http://shards.example/a.tar");
  }
}

TEST(HttpProxy, IsTunnelledThroughForHttps) {
  const std::string content = pattern(1'000'000);
  const FaultServer server(good(content), FaultServer::Kind::kTls);
  InputOptions options = testing::quick_options();
  options.ca_file = FaultServer::ca_file();
  options.retries = 0;
  const Tunnel tunnel(server.port());
  const Variable variable("https_proxy", tunnel.url);
  {
    Remote remote(options);
    const auto read = remote.read_all("https://localhost:4/a.tar");
    ASSERT_TRUE(read) << read.error().describe();
    EXPECT_TRUE(*read == content);
  }
  ASSERT_FALSE(tunnel.asked().empty());
  for (const std::string& line : tunnel.asked()) EXPECT_EQ(line, "CONNECT localhost:4 HTTP/1.1");
  ASSERT_FALSE(server.requests().empty());
  for (const SeenRequest& request : server.requests()) EXPECT_EQ(request.target, "/a.tar");
}

TEST(HttpProxy, ThatRefusesIsNamedAsTheReason) {
  const FaultServer server(good("x"), FaultServer::Kind::kTls);
  InputOptions options = testing::quick_options();
  options.retries = 0;
  const Tunnel tunnel(server.port(), "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
  const Variable variable("https_proxy", tunnel.url);
  Remote remote(options);
  const auto read = remote.read_all("https://localhost:4/a.tar");
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().describe(), ::testing::HasSubstr("403"));
  EXPECT_TRUE(server.requests().empty());
}

}  // namespace
}  // namespace shardreel
