// Streams over http(s): the bytes, whatever the server does on the way.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "tests/loader/read/http/remote_fixture.h"
#include "tests/support/fault_server.h"

namespace shardreel {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::FaultReply;
using testing::FaultServer;
using ::testing::HasSubstr;
using testing::pattern;
using testing::range_reply;
using testing::Remote;
using testing::SeenRequest;

const std::string kEtag = "\"v1\"";

/// Serves one object well, except where `spoil` changes the answer to request number n (from 0).
FaultServer::Handler spoiled(std::string content, std::function<void(int, FaultReply&)> spoil) {
  auto count = std::make_shared<int>(0);
  return
      [content = std::move(content), spoil = std::move(spoil), count](const SeenRequest& request) {
        FaultReply reply = range_reply(request, content, kEtag);
        spoil((*count)++, reply);
        return reply;
      };
}
FaultServer::Handler good(std::string content) {
  return spoiled(std::move(content), [](int, FaultReply&) {});
}

class HttpSizes : public ::testing::TestWithParam<std::size_t> {};

TEST_P(HttpSizes, TheBytesAreTheObjects) {
  const std::string content = pattern(GetParam());
  const FaultServer server(good(content));
  Remote remote;
  const auto read = remote.read_all(server.url("/a.tar"));
  ASSERT_TRUE(read) << read.error().describe();
  EXPECT_TRUE(*read == content);
}
INSTANTIATE_TEST_SUITE_P(Sizes, HttpSizes,
                         ::testing::Values(0, 1, 4095, 65535, 65536, 65537, 1 << 20, 9876543));

TEST(HttpSource, TheSameOverTls) {
  const std::string content = pattern(3'000'000);
  const FaultServer server(good(content), FaultServer::Kind::kTls);
  InputOptions options = testing::quick_options();
  options.ca_file = FaultServer::ca_file();
  Remote remote(options);
  EXPECT_TRUE(remote.read_all(server.url("/a.tar")).value() == content);
}

TEST(HttpSource, AnUnknownCertificateIsRefusedAtOnce) {
  const FaultServer server(good("x"), FaultServer::Kind::kTls);
  InputOptions options = testing::quick_options();
  options.stall_timeout = 15;  // a busy machine must not look like a stall here
  Remote remote(options);
  const auto read = remote.read_all(server.url("/a.tar"));
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().describe(), AllOf(HasSubstr("certificate"), HasSubstr("attempt 1 of")));
  EXPECT_TRUE(server.requests().empty());
}

TEST(HttpSource, ACutIsResumedAtItsByteUnderTheSameVersion) {
  const std::string content = pattern(2'000'000);
  const FaultServer server(spoiled(content, [](int n, FaultReply& reply) {
    if (n == 2) reply.cut_after = 100'001;
  }));
  Remote remote;
  EXPECT_TRUE(remote.read_all(server.url("/a.tar")).value() == content);
  EXPECT_EQ(server.body_bytes(), content.size());  // not a byte twice
  const auto requests = server.requests();
  const std::string first = requests[2].header("range");
  const auto begin = std::stoul(first.substr(6));
  bool resumed = false;
  for (const SeenRequest& request : requests) {
    resumed =
        resumed || request.header("range").starts_with(fmt::format("bytes={}-", begin + 100'001));
    EXPECT_EQ(request.header("if-match"), &request == &requests.front() ? "" : kEtag);
  }
  EXPECT_TRUE(resumed);
}

TEST(HttpSource, EveryFaultEndsInTheSameBytes) {
  const std::string content = pattern(700'000);
  const std::vector<std::pair<const char*, std::function<void(FaultReply&)>>> faults{
      {"503",
       [](FaultReply& r) {
         r = {.status = 503, .headers = {{"Retry-After", "0"}}};
       }},
      {"429", [](FaultReply& r) { r = {.status = 429}; }},
      {"no answer", [](FaultReply& r) { r.no_answer = true; }},
      {"reset", [](FaultReply& r) { r.reset_after = 5000; }},
      {"reset at once", [](FaultReply& r) { r.reset_after = 0; }},
      {"stall", [](FaultReply& r) { r.stall_after = 777; }},
      {"stall at once", [](FaultReply& r) { r.stall_after = 0; }},
      {"too short", [](FaultReply& r) { r.content_length = r.body.size() + 9; }},
      {"length of less", [](FaultReply& r) { r.content_length = r.body.size() - 1; }},
      {"no length, cut",
       [](FaultReply& r) {
         r.say_length = false;
         r.cut_after = 99;
       }},
      {"no length", [](FaultReply& r) { r.say_length = false; }},
      {"no length, more",
       [](FaultReply& r) {
         r.say_length = false;
         r.body += "more";
       }},
      {"slow",
       [](FaultReply& r) {
         r.delay = 100ms;
         r.piece_bytes = 50'000;
         r.piece_delay = 1ms;
       }},
      {"other range", [](FaultReply& r) { r.headers.back().second = "bytes 7-9/700000"; }},
      {"whole", [](FaultReply& r) { r.status = 200; }},
  };
  for (const auto& [name, fault] : faults) {
    for (const int when : {0, 1, 3}) {
      const FaultServer server(spoiled(content, [&, f = fault](int n, FaultReply& reply) {
        if (n == when) f(reply);
      }));
      Remote remote;
      const auto read = remote.read_all(server.url("/a.tar"));
      ASSERT_TRUE(read) << name << ": " << read.error().describe();
      EXPECT_TRUE(*read == content) << name << " at request " << when;
    }
  }
}

TEST(HttpSource, AFaultThatStaysIsAFailureThatNamesUrlByteAndAttempt) {
  const std::string content = pattern(700'000);
  const FaultServer server(spoiled(content, [](int n, FaultReply& reply) {
    if (n >= 1) reply = {.status = 503, .body = "busy today"};
  }));
  Remote remote;
  auto stream = remote.open(server.url("/a.tar?sig=secret"));
  ASSERT_TRUE(stream);
  const auto read = Remote::read_all(**stream);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kIo);
  EXPECT_EQ(read.error().offset, 65536U);
  EXPECT_THAT(read.error().message,
              AllOf(HasSubstr(server.url("/a.tar?sig=***")), HasSubstr("bytes 65536 to"),
                    HasSubstr("status 503: busy today"), HasSubstr("attempt 5 of at most 5")));
  EXPECT_THAT(read.error().message, ::testing::Not(HasSubstr("secret")));
  std::string block(10, ' ');
  const auto again = (*stream)->read(std::as_writable_bytes(std::span(block)));
  EXPECT_FALSE(again);  // and it stays one
}

TEST(HttpSource, RetryAfterIsObeyed) {
  const FaultServer server(spoiled("content", [](int n, FaultReply& reply) {
    if (n == 0) reply = {.status = 429, .headers = {{"Retry-After", "1"}}};
  }));
  Remote remote;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(remote.read_all(server.url("/")).value(), "content");
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 1s);
}

TEST(HttpSource, ADeadlineEndsWhatRetriesWouldNot) {
  const FaultServer server(spoiled("content", [](int, FaultReply& reply) {
    reply = {.status = 503, .headers = {{"Retry-After", "3600"}}};
  }));
  Remote remote;
  const auto read = remote.read_all(server.url("/"));
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().describe(), HasSubstr("the deadline of 20 s"));
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(HttpSource, AnObjectThatChangesIsAFailureNotAMixture) {
  const std::string before = pattern(700'000);
  for (const bool ignores_conditions : {false, true}) {
    int count = 0;
    const FaultServer server([&](const SeenRequest& request) {
      const bool changed = count++ >= 2;
      SeenRequest asked = request;
      if (ignores_conditions) asked.headers.erase("if-match");
      return range_reply(asked, changed ? std::string(700'000, 'x') : before,
                         changed ? "\"v2\"" : kEtag);
    });
    Remote remote;
    const auto read = remote.read_all(server.url("/a.tar"));
    ASSERT_FALSE(read);
    EXPECT_THAT(read.error().describe(), HasSubstr("changed while it was read"));
  }
}

TEST(HttpSource, AServerThatIgnoresRangesIsNamed) {
  const FaultServer server(spoiled(pattern(700'000), [](int, FaultReply& reply) {
    reply.status = 200;
    reply.headers.clear();
    reply.body = pattern(700'000);
  }));
  Remote remote;
  const auto read = remote.read_all(server.url("/a.tar"));
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().describe(), HasSubstr("the server ignores ranges"));
  EXPECT_LE(server.body_bytes(), 5U * 700'000);  // an attempt each, cut off at once
}

TEST(HttpSource, WhatIsNotThereIsNotAskedForAgain) {
  const FaultServer server([](const SeenRequest&) { return FaultReply{.status = 404}; });
  Remote remote;
  const auto read = remote.read_all(server.url("/gone.tar"));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(read.error().describe(), HasSubstr("/gone.tar"));
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(HttpSource, NobodyListensIsAFailureWithinItsRetries) {
  Remote remote;
  const auto read = remote.read_all("http://127.0.0.1:1/a.tar");
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().describe(), HasSubstr("connect"));
}

TEST(HttpSource, RedirectsAreFollowedWithoutCredentials) {
  const std::string content = pattern(300'000);
  const FaultServer other(good(content));
  const FaultServer server([&](const SeenRequest& request) {
    if (request.target == "/here") {
      return FaultReply{.status = 302, .headers = {{"Location", "/same?x=1"}}};
    }
    return FaultReply{.status = 307, .headers = {{"Location", other.url("/there")}}};
  });
  InputOptions options = testing::quick_options();
  options.http_headers = {"X-Api-Key: topsecret", "Cookie: also=secret"};
  Remote remote(options);
  std::string url = server.url("/here");
  url.insert(url.find("127"), "user:pass@");
  EXPECT_TRUE(remote.read_all(url).value() == content);
  for (const SeenRequest& request : server.requests()) {
    EXPECT_EQ(request.header("authorization"), "Basic dXNlcjpwYXNz");
    EXPECT_EQ(request.header("x-api-key"), "topsecret");
  }
  ASSERT_FALSE(other.requests().empty());
  for (const SeenRequest& request : other.requests()) {
    EXPECT_EQ(request.headers.count("authorization"), 0U);
    EXPECT_EQ(request.headers.count("x-api-key"), 0U);
    EXPECT_EQ(request.headers.count("cookie"), 0U);
    EXPECT_EQ(request.target, "/there");
    EXPECT_NE(request.header("range"), "");
  }
}

TEST(HttpSource, RedirectsLeadNowhereElse) {
  for (const std::string& location :
       {std::string("file:///etc/passwd"), std::string("ftp://127.0.0.1/x"), std::string(""),
        std::string("/loop"), std::string("http://")}) {
    const FaultServer server([&](const SeenRequest&) {
      return FaultReply{.status = 302, .headers = {{"Location", location}}};
    });
    Remote remote;
    const auto read = remote.read_all(server.url("/loop"));
    ASSERT_FALSE(read) << location;
    EXPECT_THAT(read.error().describe(), HasSubstr("redirect")) << location;
    EXPECT_LE(server.requests().size(), 11U);
  }
}

TEST(HttpSource, NoServerLeadsToTheMetadataService) {
  // The list names this machine, but nobody named the link.
  for (const std::string& location :
       {std::string("http://169.254.169.254/latest/meta-data/"), std::string("http://[fe80::1]/"),
        std::string("http://2852039166/"), std::string("http://[::ffff:169.254.169.254]/")}) {
    const FaultServer server([&](const SeenRequest&) {
      return FaultReply{.status = 302, .headers = {{"Location", location}}};
    });
    Remote remote;
    const auto read = remote.read_all(server.url("/a.tar"));
    ASSERT_FALSE(read) << location;
    EXPECT_EQ(read.error().code, ErrorCode::kNotPermitted);
    EXPECT_THAT(read.error().describe(), HasSubstr("only the list of shards may name"));
    EXPECT_EQ(server.requests().size(), 1U);
  }
}

TEST(HttpSource, HeadersMayComeFromTheEnvironment) {
  const FaultServer server(good("content"));
  setenv("SHARDREEL_TEST_TOKEN", "t0ken", 1);
  InputOptions options = testing::quick_options();
  options.http_headers = {"Authorization: Bearer ${SHARDREEL_TEST_TOKEN}"};
  Remote remote(options);
  EXPECT_EQ(remote.read_all(server.url("/")).value(), "content");
  EXPECT_EQ(server.requests().front().header("authorization"), "Bearer t0ken");
  unsetenv("SHARDREEL_TEST_TOKEN");
  const auto missing = remote.read_all(server.url("/"));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().describe(), HasSubstr("SHARDREEL_TEST_TOKEN"));
}

TEST(HttpSource, AReaderThatStandsStillStopsTheNetwork) {
  const std::string content = pattern(20'000'000);
  const FaultServer server(good(content));
  RemoteShape shape;
  shape.stream_bytes = 1 << 20;
  Remote remote(testing::quick_options(), shape);
  auto stream = remote.open(server.url("/a.tar")).value();
  std::string text(1000, '\0');
  stream->read(std::as_writable_bytes(std::span(text))).value();
  // Whatever is in flight ends; nothing more is asked for.
  std::uint64_t sent = 0;
  for (std::uint64_t before = 1; before != sent || sent == 0;) {
    before = sent;
    std::this_thread::sleep_for(100ms);
    sent = server.body_bytes();
  }
  EXPECT_LE(sent, std::uint64_t{1} << 20);
  EXPECT_TRUE(text + Remote::read_all(*stream).value() == content);
  EXPECT_LE(remote.ledger.snapshot().total.peak, shape.total_bytes());
  stream.reset();
  EXPECT_EQ(remote.ledger.snapshot().total.now, shape.connections * shape.connection_bytes);
}

TEST(HttpSource, SeveralRangesAreInFlightWhereAnswersTakeLong) {
  const std::string content = pattern(16'000'000);
  const FaultServer server(spoiled(content, [](int, FaultReply& reply) { reply.delay = 150ms; }));
  Remote remote;
  EXPECT_TRUE(remote.read_all(server.url("/a.tar")).value() == content);
  EXPECT_GE(server.most_at_once(), 3);
}

TEST(HttpSource, AllWaitsForAShardTogetherAreBounded) {
  // Every range comes soon enough, and never stands still; the whole shard would take 9 s.
  const std::string content = pattern(3'000'000);
  const FaultServer server(spoiled(content, [](int, FaultReply& reply) {
    reply.piece_bytes = 10'000;
    reply.piece_delay = 30ms;
  }));
  InputOptions options = testing::quick_options();
  options.stall_timeout = 15;
  options.shard_timeout = 1;
  Remote remote(options);
  auto stream = remote.open(server.url("/a.tar"));
  ASSERT_TRUE(stream);
  const auto object = (*stream)->random_access();
  const auto begin = std::chrono::steady_clock::now();
  const auto read = remote.read_all(**stream);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().describe(), AllOf(HasSubstr("/a.tar"), HasSubstr("shard_timeout")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  // What is read by offset is of the same shard.
  std::vector<std::byte> large(2'000'000);
  const auto by_offset = object->read_at(500'000, large);
  ASSERT_FALSE(by_offset);
  EXPECT_THAT(by_offset.error().describe(), HasSubstr("shard_timeout"));
}

TEST(HttpSource, StopEndsAnyWaitWithinASecond) {
  for (const bool open_stalls : {true, false}) {
    const FaultServer server(spoiled(pattern(700'000), [&](int n, FaultReply& reply) {
      if (open_stalls || n > 0) reply.stall_after = 0;
    }));
    InputOptions options = testing::quick_options();
    options.stall_timeout = 100;
    Remote remote(options);
    auto read = std::async(std::launch::async, [&] { return remote.read_all(server.url("/a")); });
    while (server.requests().size() < (open_stalls ? 1U : 2U)) std::this_thread::yield();
    remote.stop.request_stop();
    ASSERT_EQ(read.wait_for(1s), std::future_status::ready);
    EXPECT_EQ(read.get().error().code, ErrorCode::kStopped);
  }
}

TEST(HttpSource, ReadsOnDemandFetchLittleMoreThanTheyNeed) {
  const std::string content = pattern(50'000'000);
  const FaultServer server(good(content));
  Remote remote;
  auto stream = remote.open(server.url("/a.tar")).value();
  const auto file = stream->random_access();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(file->size(), content.size());
  const auto check = [&](std::uint64_t offset, std::size_t bytes) {
    std::string text(bytes, '\0');
    const auto got = file->read_at(offset, std::as_writable_bytes(std::span(text)));
    ASSERT_TRUE(got) << got.error().describe();
    EXPECT_EQ(*got, std::min<std::uint64_t>(
                        bytes, content.size() - std::min<std::uint64_t>(offset, content.size())));
    EXPECT_TRUE(text.compare(0, *got, content, offset, *got) == 0) << offset;
  };
  check(0, 512);
  EXPECT_EQ(server.requests().size(), 1U);  // known from opening
  // The box at the front and the index at the end: two requests.
  check(20'000'000, 65536);
  for (std::uint64_t at = 49'900'000; at < 50'000'000; at += 4096) check(at, 4096);
  EXPECT_EQ(server.requests().size(), 3U);
  const std::uint64_t before = server.body_bytes();
  check(10'000'000, 5'000'000);  // large: exactly these bytes
  EXPECT_EQ(server.body_bytes(), before + 5'000'000);
  check(49'999'990, 100);
  check(50'000'000, 100'000);
}

TEST(HttpSource, APartIsReadNoFurtherThanItsEndAndPiecesExactly) {
  const std::string content = pattern(50'000'000);
  const FaultServer server(spoiled(content, [](int, FaultReply& reply) { reply.delay = 20ms; }));
  InputOptions options = testing::quick_options();
  options.stall_timeout = 15;  // a busy machine must not look like a stall: bytes are counted
  Remote remote(options);
  const auto file = remote.open(server.url("/a.tar")).value()->random_access();
  const std::uint64_t opened = server.body_bytes();
  const auto member = slice(file, 1'000'001, 900'000);
  std::string text(900'000 + 77, '\0');
  std::size_t done = 0;
  while (done < 900'000) {  // as a demuxer reads
    const auto got = member->read_at(
        done, std::as_writable_bytes(std::span(text)).subspan(done, std::size_t{32} << 10));
    ASSERT_TRUE(got) << got.error().describe();
    ASSERT_GT(*got, 0U);
    done += *got;
  }
  EXPECT_EQ(done, 900'000U);
  EXPECT_TRUE(text.compare(0, done, content, 1'000'001, done) == 0);
  EXPECT_EQ(server.body_bytes(), opened + 900'000);

  std::vector<std::string> parts(16, std::string(4096, '\0'));
  std::vector<ReadPiece> pieces;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    pieces.push_back({i * 3'000'000, std::as_writable_bytes(std::span(parts[i]))});
  }
  ASSERT_TRUE(file->read_pieces(pieces));
  for (std::size_t i = 0; i < parts.size(); ++i) {
    EXPECT_TRUE(content.compare(i * 3'000'000, 4096, parts[i]) == 0) << i;
  }
  EXPECT_EQ(server.body_bytes(), opened + 900'000 + 15 * 4096);  // the first is known
  EXPECT_GE(server.most_at_once(), 4);
  const ReadPiece behind{content.size() - 10, std::as_writable_bytes(std::span(parts[0]))};
  EXPECT_FALSE(file->read_pieces(std::span(&behind, 1)));
}

TEST(HttpSource, SkippedBytesAreNotFetched) {
  const std::string content = pattern(50'000'000);
  const FaultServer server(good(content));
  Remote remote;
  auto stream = remote.open(server.url("/a.tar")).value();
  std::string text(70'000, '\0');
  std::size_t got = 0;
  while (got < text.size()) {
    got += stream->read(std::as_writable_bytes(std::span(text)).subspan(got)).value();
  }
  EXPECT_TRUE(stream->go_to(40'070'000));
  EXPECT_TRUE(Remote::read_all(*stream).value() == content.substr(40'070'000));
  EXPECT_LT(server.body_bytes(), 12'000'000U);  // and the rest of it once
  EXPECT_TRUE(stream->go_to(100));              // back, too
  EXPECT_TRUE(Remote::read_all(*stream).value() == content.substr(100));
}

// What went straight to the reader is not in the stream's own memory any more.
TEST(HttpSource, GoingBackALittleGivesTheSameBytes) {
  const std::string content = pattern(12'000'000);
  const FaultServer server(good(content));
  Remote remote;
  auto stream = remote.open(server.url("/a.tar")).value();
  std::string text(700'000, '\0');
  for (std::size_t at = 0; at + text.size() < content.size();) {
    const std::size_t got = stream->read(std::as_writable_bytes(std::span(text))).value();
    ASSERT_TRUE(content.compare(at, got, text, 0, got) == 0) << at;
    at += got;
    at -= std::min(at, got / 3);
    ASSERT_TRUE(stream->go_to(at));
  }
}

}  // namespace
}  // namespace shardreel
