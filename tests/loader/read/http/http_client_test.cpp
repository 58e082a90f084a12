// Exchanges on few connections, many at a time: each ends well at the first attempt.

#include "loader/read/http/http_client.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "tests/loader/read/http/remote_fixture.h"
#include "tests/support/fault_server.h"

namespace shardreel {
namespace {

using namespace std::chrono_literals;
using testing::FaultReply;
using testing::FaultServer;
using testing::SeenRequest;

/// FNV-1a: a byte at a time, so slower than the server that there is always more to read than
/// libcurl takes in one turn.
struct Digest {
  std::uint64_t value = 14695981039346656037U;
  void add(std::byte byte) {
    value = (value ^ std::to_integer<std::uint64_t>(byte)) * 1099511628211U;
  }
};

/// What all exchanges of a test share.
struct Shared {
  explicit Shared(std::size_t bytes) : body(testing::pattern(bytes)) {
    Digest digest;
    for (const char byte : body) {
      digests.push_back(digest.value);
      digest.add(static_cast<std::byte>(byte));
    }
  }
  const std::string body;
  std::vector<std::uint64_t> digests;  ///< of its first 0, 1, … bytes
  std::size_t open = 0;
  std::vector<std::string> failures;
};

/// Exchanges one after the other, each begun when the one before is done.
class Chain final : public HttpHandler, public std::enable_shared_from_this<Chain> {
 public:
  using Size = std::function<std::size_t(std::size_t)>;
  Chain(HttpClient& client, Shared& shared, std::string url, std::size_t count, Size size)
      : client_(client),
        shared_(shared),
        url_(std::move(url)),
        count_(count),
        size_(std::move(size)) {}

  void begin() {
    digest_ = Digest();
    ++shared_.open;
    HttpRequest request;
    request.url = url_ + std::to_string(size_(done_));
    client_.start(std::move(request), shared_from_this());
  }
  bool on_head(const HttpHead& head) override { return head.status == 200; }
  bool on_bytes(std::span<const std::byte> bytes) override {
    for (const std::byte byte : bytes) digest_.add(byte);
    return true;
  }
  void on_done(const HttpOutcome& outcome) override {
    if (!outcome.failure.empty()) shared_.failures.push_back(outcome.failure);
    if (digest_.value != shared_.digests.at(size_(done_))) shared_.failures.push_back("the bytes");
    if (++done_ < count_ && shared_.failures.empty()) begin();
    --shared_.open;
  }

 private:
  HttpClient& client_;
  Shared& shared_;
  const std::string url_;
  const std::size_t count_;
  const Size size_;
  std::size_t done_ = 0;
  Digest digest_;
};

class HttpClientKinds : public ::testing::TestWithParam<FaultServer::Kind> {};

// Large bodies, which libcurl reads in several turns over TLS, among many small ones: it ends one
// exchange and gives its connection to the next within one call. Nothing may fail for that, and
// nothing may wait for a timeout.
TEST_P(HttpClientKinds, ConnectionsChangeHandsWithoutAFailure) {
  Shared shared(4'000'000);
  const FaultServer server(
      [&shared](const SeenRequest& request) {
        FaultReply reply;
        reply.body = shared.body.substr(0, std::stoul(request.target.substr(1)));
        return reply;
      },
      GetParam());
  boost::asio::io_context loop;
  HttpClientOptions options;
  options.connections = 4;
  options.ca_file = FaultServer::ca_file();
  options.stall_timeout = 60s;
  HttpClient client(loop, options);
  const auto large = [](std::size_t n) { return 1'600'000 + n * 791'919 % 2'390'000; };
  const auto small = [](std::size_t n) { return n * 7919 % 1000; };
  const std::size_t count = GetParam() == FaultServer::Kind::kTls ? 150 : 10;
  const auto url = server.url("/");
  for (int i = 0; i < 2; ++i) {
    std::make_shared<Chain>(client, shared, url, count, large)->begin();
    std::make_shared<Chain>(client, shared, url, 40 * count, small)->begin();
  }
  const auto deadline = std::chrono::steady_clock::now() + 40s;  // sooner than any timeout
  while (shared.open > 0 && std::chrono::steady_clock::now() < deadline) loop.run_one_for(100ms);
  EXPECT_EQ(shared.open, 0U) << "exchanges stand still";
  EXPECT_EQ(shared.failures, std::vector<std::string>());
}
INSTANTIATE_TEST_SUITE_P(Kinds, HttpClientKinds,
                         ::testing::Values(FaultServer::Kind::kPlain, FaultServer::Kind::kTls),
                         [](const auto& kind) {
                           return kind.param == FaultServer::Kind::kTls ? "Tls" : "Plain";
                         });

}  // namespace
}  // namespace shardreel
