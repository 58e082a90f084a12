// Exchanges on few connections, many at a time: each ends well at the first attempt.

#include "loader/read/http/http_client.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

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
  std::size_t open = 0, done = 0;
  std::vector<std::string> failures;
};

/// Exchanges one after the other, each begun when the one before is done.
class Chain final : public HttpHandler, public std::enable_shared_from_this<Chain> {
 public:
  using Size = std::function<std::size_t(std::size_t)>;
  Chain(HttpClient& client, Shared& shared, std::string url, std::size_t count, Size size,
        bool bulk)
      : client_(client),
        shared_(shared),
        url_(std::move(url)),
        count_(count),
        size_(std::move(size)),
        bulk_(bulk) {}

  void begin() {
    digest_ = Digest();
    ++shared_.open;
    HttpRequest request;
    request.url = url_ + std::to_string(size_(done_));
    request.bulk = bulk_;
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
    ++shared_.done;
  }

 private:
  HttpClient& client_;
  Shared& shared_;
  const std::string url_;
  const std::size_t count_;
  const Size size_;
  const bool bulk_;
  std::size_t done_ = 0;
  Digest digest_;
};

struct Way {
  FaultServer::Kind kind;
  bool bulk;  ///< read without libcurl
};
std::string name_of(const ::testing::TestParamInfo<Way>& way) {
  return std::string(way.param.kind == FaultServer::Kind::kTls ? "Tls" : "Plain") +
         (way.param.bulk ? "Bulk" : "");
}

class HttpClientWays : public ::testing::TestWithParam<Way> {};

// Large bodies, which libcurl reads in several turns over TLS, among many small ones: it ends one
// exchange and gives its connection to the next within one call. Nothing may fail for that, and
// nothing may wait for a timeout.
TEST_P(HttpClientWays, ConnectionsChangeHandsWithoutAFailure) {
  Shared shared(4'000'000);
  const FaultServer server(
      [&shared](const SeenRequest& request) {
        FaultReply reply;
        reply.body = shared.body.substr(0, std::stoul(request.target.substr(1)));
        return reply;
      },
      GetParam().kind);
  boost::asio::io_context loop;
  HttpClientOptions options;
  options.connections = 4;
  options.ca_file = FaultServer::ca_file();
  options.stall_timeout = 60s;
  HttpClient client(loop, options);
  const auto large = [](std::size_t n) { return 1'600'000 + n * 791'919 % 2'390'000; };
  const auto small = [](std::size_t n) { return n * 7919 % 1000; };
  // What it took to see libcurl do so.
  const bool hard = GetParam().kind == FaultServer::Kind::kTls && !GetParam().bulk;
  const std::size_t count = hard ? 150 : 10;
  const auto url = server.url("/");
  for (int i = 0; i < 2; ++i) {
    std::make_shared<Chain>(client, shared, url, count, large, GetParam().bulk)->begin();
    std::make_shared<Chain>(client, shared, url, 40 * count, small, GetParam().bulk)->begin();
  }
  // Sooner than any timeout; whoever stands still beside others that go on fails by that.
  std::size_t seen = 0;
  for (auto moved = std::chrono::steady_clock::now();
       shared.open > 0 && std::chrono::steady_clock::now() - moved < 40s;) {
    loop.run_one_for(100ms);
    if (std::exchange(seen, shared.done) != shared.done) moved = std::chrono::steady_clock::now();
  }
  EXPECT_EQ(shared.open, 0U) << "exchanges stand still";
  EXPECT_EQ(shared.failures, std::vector<std::string>());
}
INSTANTIATE_TEST_SUITE_P(Ways, HttpClientWays,
                         ::testing::Values(Way{FaultServer::Kind::kPlain, false},
                                           Way{FaultServer::Kind::kTls, false},
                                           Way{FaultServer::Kind::kPlain, true},
                                           Way{FaultServer::Kind::kTls, true}),
                         name_of);

/// One bulk exchange at a time on a loop that the test runs.
class Bulk : public ::testing::TestWithParam<FaultServer::Kind> {
 protected:
  /// Reads to a place of its own; holds the body once when told to.
  struct Reader final : HttpHandler {
    bool on_head(const HttpHead& head) override { return head.status < 300; }
    bool on_bytes(std::span<const std::byte>) override { return false; }  // not for bulk
    Next on_body(HttpBody& read) override {
      if (hold) {
        hold = false;
        held = true;
        return Next::kHold;
      }
      held = false;
      std::string piece(70'000, '\0');
      piece.resize(read.read(std::as_writable_bytes(std::span(piece))));
      body += piece;
      return body.size() > most ? Next::kCut : Next::kMore;
    }
    void on_done(const HttpOutcome& how) override { outcome = how; }
    std::string body;
    bool hold = false, held = false;
    std::size_t most = std::string::npos;
    std::optional<HttpOutcome> outcome;
  };

  explicit Bulk() { options.ca_file = FaultServer::ca_file(); }

  /// Run the loop until then, for ten seconds at most.
  bool run_until(const std::function<bool()>& enough) {
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (!enough() && std::chrono::steady_clock::now() < deadline) loop.run_one_for(100ms);
    return enough();
  }
  std::shared_ptr<Reader> ask(HttpClient& client, const std::string& url, bool hold = false) {
    auto reader = std::make_shared<Reader>();
    reader->hold = hold;
    HttpRequest request;
    request.url = url;
    request.bulk = true;
    id = client.start(std::move(request), reader);
    return reader;
  }

  boost::asio::io_context loop;
  HttpClientOptions options;
  HttpClient::Id id = 0;
};

TEST_P(Bulk, AConnectionIsUsedAgainAndOneThatWasClosedMeanwhileIsReplaced) {
  const std::string body = testing::pattern(300'000);
  bool close_after = false;
  const FaultServer server(
      [&](const SeenRequest&) {
        FaultReply reply;
        reply.body = body;
        reply.close_after = close_after;
        return reply;
      },
      GetParam());
  HttpClient client(loop, options);
  // The connections that were there before each request.
  for (const int there : {0, 1, 1}) {
    EXPECT_EQ(server.connections(), there);
    close_after = there == 1 && server.requests().size() == 2;
    const auto reader = ask(client, server.url("/a"));
    ASSERT_TRUE(run_until([&] { return reader->outcome.has_value(); }));
    EXPECT_EQ(reader->outcome->failure, "");
    EXPECT_EQ(reader->body, body);
  }
  close_after = false;
  const auto reader = ask(client, server.url("/a"));
  ASSERT_TRUE(run_until([&] { return reader->outcome.has_value(); }));
  EXPECT_EQ(reader->outcome->failure, "");
  EXPECT_EQ(reader->body, body);
  EXPECT_EQ(server.connections(), 2);
  EXPECT_EQ(server.requests().size(), 4U);
}

TEST_P(Bulk, AConnectionThatClosesInsteadOfAnAnswerIsReplacedIfItWasUsedBefore) {
  int count = 0;
  const FaultServer server(
      [&](const SeenRequest&) {
        FaultReply reply;
        reply.body = "hello";
        reply.no_answer = ++count == 2 || count == 4;
        return reply;
      },
      GetParam());
  HttpClient client(loop, options);
  // 1; 2, which is not answered, and 3 on a new connection; then 4 on a client's first.
  for (const int requests : {1, 3}) {
    const auto reader = ask(client, server.url("/a"));
    ASSERT_TRUE(run_until([&] { return reader->outcome.has_value(); }));
    EXPECT_EQ(reader->outcome->failure, "");
    EXPECT_EQ(reader->body, "hello");
    EXPECT_EQ(server.requests().size(), static_cast<std::size_t>(requests));
  }
  HttpClient other(loop, options);
  const auto reader = ask(other, server.url("/a"));
  ASSERT_TRUE(run_until([&] { return reader->outcome.has_value(); }));
  EXPECT_NE(reader->outcome->failure, "");
  EXPECT_EQ(server.requests().size(), 4U);
}

TEST_P(Bulk, WhatIsHeldGoesOnWhenAskedOrAfterAWhile) {
  const std::string body = testing::pattern(3'000'000);
  const FaultServer server(
      [&](const SeenRequest&) {
        FaultReply reply;
        reply.body = body;
        return reply;
      },
      GetParam());
  options.hold_time = 1h;  // so that nothing but `go_on` helps
  options.stall_timeout = 1h;
  {
    HttpClient client(loop, options);
    const auto reader = ask(client, server.url("/a"), true);
    ASSERT_TRUE(run_until([&] { return reader->held; }));
    loop.poll();
    EXPECT_EQ(reader->body, "");
    client.go_on(id);
    ASSERT_TRUE(run_until([&] { return reader->outcome.has_value(); }));
    EXPECT_EQ(reader->body, body);
    client.go_on(id);  // there is nothing any more
  }
  options.hold_time = 20ms;
  HttpClient client(loop, options);
  const auto reader = ask(client, server.url("/a"), true);
  ASSERT_TRUE(run_until([&] { return reader->outcome.has_value(); }));
  EXPECT_EQ(reader->body, body);
}

// The wait for many bytes at once must not become one for bytes that do not come.
TEST_P(Bulk, FewBytesAtATimeAreTakenSoon) {
  const std::string body = testing::pattern(600'000);
  const FaultServer server(
      [&](const SeenRequest&) {
        FaultReply reply;
        reply.body = body;
        reply.stall_after = 100'000;
        reply.piece_bytes = 10'000;
        reply.piece_delay = 10ms;
        return reply;
      },
      GetParam());
  HttpClient client(loop, options);
  const auto reader = ask(client, server.url("/a"));
  EXPECT_TRUE(run_until([&] { return reader->body.size() == 100'000; })) << reader->body.size();
  client.cancel(id);
  loop.poll();
  EXPECT_FALSE(reader->outcome);
}

TEST_P(Bulk, ABodyThatIsNotTakenIsCut) {
  const FaultServer server(
      [&](const SeenRequest&) {
        FaultReply reply;
        reply.body = std::string(1'000'000, 'x');
        return reply;
      },
      GetParam());
  HttpClient client(loop, options);
  const auto reader = ask(client, server.url("/a"));
  reader->most = 200'000;
  ASSERT_TRUE(run_until([&] { return reader->outcome.has_value(); }));
  EXPECT_NE(reader->outcome->failure, "");
  EXPECT_LE(reader->body.size(), 270'000U);
}

TEST_P(Bulk, ARequestWithALineBreakIsNotSent) {
  const FaultServer server([](const SeenRequest&) { return FaultReply(); }, GetParam());
  HttpClient client(loop, options);
  const auto reader = std::make_shared<Reader>();
  HttpRequest request;
  request.url = server.url("/a");
  request.headers = {"X-A: secret\r\nX-B: 2"};
  request.bulk = true;
  client.start(std::move(request), reader);
  ASSERT_TRUE(run_until([&] { return reader->outcome.has_value(); }));
  EXPECT_EQ(reader->outcome->failure, "a header has a line break");
  EXPECT_TRUE(reader->outcome->permanent);
  EXPECT_TRUE(server.requests().empty());
}
INSTANTIATE_TEST_SUITE_P(Kinds, Bulk,
                         ::testing::Values(FaultServer::Kind::kPlain, FaultServer::Kind::kTls),
                         [](const auto& kind) {
                           return kind.param == FaultServer::Kind::kTls ? "Tls" : "Plain";
                         });

}  // namespace
}  // namespace shardreel
