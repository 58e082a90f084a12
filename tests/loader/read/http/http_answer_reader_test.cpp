// Answers as bytes, right and wrong, in pieces of every size.

#include "loader/read/http/http_answer_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "loader/read/http/http_request_text.h"

namespace shardreel {
namespace {

using State = HttpAnswerReader::State;

/// Text that comes in pieces, with nothing between two of them, and then an end.
class TextWire final : public HttpWire {
 public:
  TextWire(std::string text, std::size_t piece, HttpWire::State end = HttpWire::State::kClosed)
      : text_(std::move(text)), piece_(piece), end_(end) {}
  Got receive(std::span<std::byte> into) override {
    pause_ = !pause_;
    if (pause_) return {HttpWire::State::kNothing, 0};
    if (at_ == text_.size()) return {end_, 0};
    const std::size_t count = std::min({piece_, into.size(), text_.size() - at_});
    std::copy_n(text_.data() + at_, count, reinterpret_cast<char*>(into.data()));
    at_ += count;
    return {HttpWire::State::kBytes, count};
  }
  [[nodiscard]] std::string complaint() const override { return "it broke"; }
  [[nodiscard]] std::string rest() const { return text_.substr(at_); }

 private:
  const std::string text_;
  const std::size_t piece_;
  const HttpWire::State end_;
  std::size_t at_ = 0;
  bool pause_ = false;
};

struct Read {
  State state = State::kHead;
  int status = 0;
  std::string body;
  std::string failure;
  bool reusable = false;
  std::string rest;
};

Read read_all(const std::string& text, std::size_t piece = 1000, std::size_t portion = 77,
              HttpWire::State end = HttpWire::State::kClosed) {
  TextWire wire(text, piece, end);
  HttpAnswerReader reader(wire);
  Read read;
  const std::size_t most = 4 * text.size() + 100;  // each byte may take a pause
  for (std::size_t i = 0; i < most && reader.state() == State::kHead; ++i) reader.read_head();
  std::string part(portion, '\0');
  for (std::size_t i = 0; i < most && reader.state() == State::kBody; ++i) {
    read.body.append(part, 0, reader.read(std::as_writable_bytes(std::span(part))));
  }
  read.state = reader.state();
  read.status = reader.head().status;
  read.failure = reader.failure();
  read.reusable = read.state == State::kEnded && reader.reusable();
  read.rest = wire.rest();
  EXPECT_EQ(reader.taken(), read.body.size());
  return read;
}

TEST(HttpAnswerReader, TakesAnswersAsTheyMayBe) {
  struct Case {
    std::string text;
    int status;
    std::string body;
    bool reusable;
  };
  const std::vector<Case> cases = {
      {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true},
      {"HTTP/1.1 206 Partial Content\ncontent-length:5  \n\nhello", 206, "hello", true},
      {"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, "", true},
      {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
      {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, "", true},
      {"HTTP/1.1 200 OK\r\n\r\nto the end", 200, "to the end", false},
      {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false},
      {"HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok", 200, "ok", false},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 200, "ok", true},
      {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
       200, "ok", true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1; "
       "a=b\r\n!\r\n0\r\n\r\n",
       200, "hello!", true},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n00A \r\n0123456789\r\n0\r\nX: "
       "y\r\n\r\n",
       200, "0123456789", true},
  };
  for (const Case& c : cases) {
    for (const std::size_t piece : {1, 2, 3, 7, 4096}) {
      for (const std::size_t portion : {1, 3, 500}) {
        const Read read = read_all(c.text, piece, portion);
        EXPECT_EQ(read.state, State::kEnded) << c.text << read.failure;
        EXPECT_EQ(read.status, c.status) << c.text;
        EXPECT_EQ(read.body, c.body) << c.text;
        EXPECT_EQ(read.reusable, c.reusable) << c.text;
      }
    }
  }
}

TEST(HttpAnswerReader, RefusesWhatIsNotPlainlyRight) {
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  const std::string chunked = ok + "Transfer-Encoding: chunked\r\n\r\n";
  const std::vector<std::string> cases = {
      "",
      "HTTP/1.1",
      "HTTP/2 200\r\n\r\n",
      "HTTP/1.2 200 OK\r\n\r\n",
      "ICY 200 OK\r\n\r\n",
      "<html>\r\n\r\n",
      "\r\nHTTP/1.1 200 OK\r\n\r\n",
      "HTTP/1.1 2x0 OK\r\n\r\n",
      "HTTP/1.1 -20 OK\r\n\r\n",
      "HTTP/1.1 099 OK\r\n\r\n",
      "HTTP/1.1 2000 OK\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\n\r\n",
      ok + "No colon\r\n\r\n",
      ok + "Space : x\r\n\r\n",
      ok + ": x\r\n\r\n",
      ok + "A: b\r\n folded\r\n\r\n",
      ok + "A: b\rc\r\n\r\n",
      ok + std::string("A: b\0c\r\n\r\n", 10),
      ok + "Content-Length: 5\r\n\r\nfour",
      ok + "Content-Length: -1\r\n\r\n",
      ok + "Content-Length: +1\r\n\r\nx",
      ok + "Content-Length: 1, 1\r\n\r\nx",
      ok + "Content-Length:\r\n\r\n",
      ok + "Content-Length: 9223372036854775808\r\n\r\n",
      ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy",
      ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: gzip\r\n\r\n",
      ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      chunked,
      chunked + "5\r\nhello",
      chunked + "5\r\nhello\r\n",
      chunked + "5\r\nhello\r\n0\r\n",
      chunked + "5\r\nhello!\r\n0\r\n\r\n",
      chunked + "x\r\n",
      chunked + "\r\n",
      chunked + "-1\r\n",
      chunked + "0x5\r\nhello\r\n0\r\n\r\n",
      chunked + "8000000000000000\r\n",
      chunked + "10000000000000005\r\nhello\r\n0\r\n\r\n",
      chunked + "5" + std::string(2000, ' ') + "\r\nhello\r\n0\r\n\r\n",
  };
  for (const std::string& text : cases) {
    for (const std::size_t piece : {1, 5, 4096}) {
      const Read read = read_all(text, piece);
      EXPECT_EQ(read.state, State::kFailed) << text;
      EXPECT_FALSE(read.failure.empty()) << text;
      EXPECT_EQ(read.failure.find("hello"), std::string::npos) << "quotes what came";
    }
  }
}

TEST(HttpAnswerReader, NothingGrowsWithoutEnd) {
  const std::string many(70'000, 'a');
  EXPECT_EQ(read_all("HTTP/1.1 200 OK\r\nA: " + many + "\r\n\r\n").state, State::kFailed);
  EXPECT_EQ(read_all("HTTP/1.1 " + many).state, State::kFailed);
  std::string lines = "HTTP/1.1 200 OK\r\n";
  for (int i = 0; i < 300; ++i) lines += "A: b\r\n";
  EXPECT_EQ(read_all(lines + "\r\n").state, State::kFailed);
  std::string before;
  for (int i = 0; i < 20; ++i) before += "HTTP/1.1 102 Processing\r\n\r\n";
  EXPECT_EQ(read_all(before + "HTTP/1.1 204 OK\r\n\r\n").state, State::kFailed);
  std::string trailer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
  for (int i = 0; i < 100; ++i) trailer += "A: " + std::string(900, 'b') + "\r\n";
  EXPECT_EQ(read_all(trailer + "\r\n").state, State::kFailed);
}

TEST(HttpAnswerReader, NeverReadsBeyondABodyThatHasALength) {
  const std::string text =
      "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + std::string(9000, 'x');
  const Read read = read_all(text + "HTTP/1.1 200 OK", 100'000, 100'000);
  EXPECT_EQ(read.state, State::kEnded);
  EXPECT_EQ(read.rest, "HTTP/1.1 200 OK");
  // What came with a short body cannot be an answer: nobody asked.
  const std::string small = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
  EXPECT_TRUE(read_all(small).reusable);
  EXPECT_FALSE(read_all(small + "H", 4096).reusable);
}

TEST(HttpAnswerReader, ABrokenConnectionIsNoEnd) {
  const auto broken = HttpWire::State::kBroken;
  for (const std::string text :
       {"", "HTTP/1.1 200 OK\r\n\r\nabc", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"}) {
    const Read read = read_all(text, 4096, 77, broken);
    EXPECT_EQ(read.state, State::kFailed) << text;
    EXPECT_NE(read.failure.find("it broke"), std::string::npos) << text;
  }
}

TEST(RequestText, IsWhatLibcurlWouldSend) {
  const auto url = parse_http_url("http://u:p@Host.example:81/a/./b%20c?x=1&y");
  ASSERT_TRUE(url);
  HttpRequest request;
  request.headers = {"Range: bytes=0-4", "X-Empty;", "X-Gone:", "Authorization: Bearer t"};
  auto text = request_text(request, *url);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text,
            "GET /a/./b%20c?x=1&y HTTP/1.1\r\nHost: host.example:81\r\nUser-Agent: shardreel\r\n"
            "Accept: */*\r\nRange: bytes=0-4\r\nX-Empty:\r\nAuthorization: Bearer t\r\n\r\n");
  request.headers = {"host: other", "User-Agent:", "accept: text/plain"};
  text = request_text(request, *url);
  ASSERT_TRUE(text);
  EXPECT_EQ(*text, "GET /a/./b%20c?x=1&y HTTP/1.1\r\nhost: other\r\naccept: text/plain\r\n\r\n");
  for (const std::string line : {"A: b\r\nC: d", "A: b\nC: d", "A\r: b"}) {
    request.headers = {line};
    EXPECT_FALSE(request_text(request, *url)) << line;
  }
}

TEST(RequestText, LibcurlAsksWhereAProxyOrAHostWantsItsOwnWay) {
  const auto needs = [](const char* url, bool use_proxy = true) {
    HttpRequest request;
    request.use_proxy = use_proxy;
    return needs_libcurl(request, *parse_http_url(url));
  };
  for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) unsetenv(name);
  EXPECT_FALSE(needs("http://a.example/x"));
  EXPECT_FALSE(needs("http://[::1]:80/x"));
  EXPECT_TRUE(
      needs("http://b\xc3\xbc"
            "cher.example/x"));
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  EXPECT_TRUE(needs("http://a.example/x"));
  EXPECT_FALSE(needs("http://a.example/x", false));
  EXPECT_FALSE(needs("https://a.example/x"));
  unsetenv("http_proxy");
}

TEST(RequestText, AConnectionIsSharedOnlyWhereItMayBe) {
  const auto key = [](const char* url, bool machine = false, bool proxy = true) {
    HttpRequest request;
    request.refuse_machine = machine;
    request.use_proxy = proxy;
    return link_key(request, *parse_http_url(url));
  };
  EXPECT_EQ(key("http://a/x"), key("http://a:80/y?z"));
  EXPECT_NE(key("http://a/x"), key("https://a/x"));
  EXPECT_NE(key("http://a/x"), key("http://b/x"));
  EXPECT_NE(key("http://a/x"), key("http://a:81/x"));
  EXPECT_NE(key("http://a/x"), key("http://a/x", true));
  EXPECT_NE(key("http://a/x"), key("http://a/x", false, false));
}

}  // namespace
}  // namespace shardreel
