#include "loader/read/http/http_answer_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <limits>
#include <utility>

#include "loader/read/http/http_url.h"

namespace shardreel {
namespace {

constexpr std::size_t kMostHead = std::size_t{64} << 10;
constexpr std::size_t kMostHeaders = 256;
constexpr std::size_t kMostLine = 1024;  // before a chunk; extensions are not understood
constexpr int kMostProvisional = 16;
// Behind a head comes the body, which is better read to where it belongs.
constexpr std::size_t kPiece = 4096;

// None of these quotes what the server sent: it may repeat a secret.
Error bad(std::string_view what) {
  return {ErrorCode::kIo, fmt::format("the answer is no HTTP/1.1: {}", what), {}, {}, {}};
}

bool is_token(std::string_view text) {
  constexpr std::string_view kSigns = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::ranges::all_of(text, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kSigns.find(c) != kSigns.npos;
  });
}

bool is_text(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return c == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = std::min(text.find_first_not_of(" \t"), text.size());
  text.remove_prefix(begin);
  return text.substr(0, text.find_last_not_of(" \t") + 1);
}

/// The next line without its end, which is LF or CR LF.
std::string_view next_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end + 1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::optional<std::uint64_t> number(std::string_view digits, int base) {
  std::uint64_t value = 0;
  const char* end = digits.data() + digits.size();
  const auto [stop, status] = std::from_chars(digits.data(), end, value, base);
  if (digits.empty() || status != std::errc{} || stop != end) return {};
  // Offsets are signed in places: a length beyond them is no length.
  if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return {};
  return value;
}

/// Behind the head that begins `text`; nothing when its end is not there.
std::size_t head_end(std::string_view text) {
  for (std::size_t at = text.find('\n'); at != text.npos; at = text.find('\n', at + 1)) {
    if (text.substr(at + 1, 1) == "\n") return at + 2;
    if (text.substr(at + 1, 2) == "\r\n") return at + 3;
  }
  return text.npos;
}

/// Whether a list such as "keep-alive, Upgrade" has the word.
bool has_word(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    if (lower_case(trimmed(list.substr(0, comma))) == word) return true;
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return false;
}

}  // namespace

Result<HttpHeadText> parse_http_head(std::string_view text) {
  HttpHeadText answer;
  const std::string_view status = next_line(text);
  if (!status.starts_with("HTTP/1.") || status.size() < 12 || status[8] != ' ' ||
      (status[7] != '0' && status[7] != '1') || (status.size() > 12 && status[12] != ' ')) {
    return bad("it begins with another status line");
  }
  answer.minor = status[7] - '0';
  const auto code = number(status.substr(9, 3), 10);
  if (!code || *code < 100) return bad("the status is no number of three digits");
  answer.head.status = static_cast<int>(*code);
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    if (line.empty()) break;
    const std::size_t colon = line.find(':');
    // A line that begins with a space would go on with the one before: nobody may send it any more.
    if (colon == line.npos || !is_token(line.substr(0, colon))) return bad("a line is no header");
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (!is_text(value)) return bad("a header has a byte that is no text");
    if (answer.head.headers.size() >= kMostHeaders) return bad("it has more than 256 headers");
    answer.head.headers.emplace_back(lower_case(line.substr(0, colon)), value);
  }
  return answer;
}

Result<HttpFraming> framing_of(const HttpHeadText& answer) {
  const HttpHead& head = answer.head;
  HttpFraming framing;
  framing.keeps = answer.minor == 1;
  std::optional<std::uint64_t> length;
  bool coded = false;
  for (const auto& [name, value] : head.headers) {
    if (name == "connection" && has_word(value, "close")) framing.keeps = false;
    if (name == "transfer-encoding") {
      if (coded || lower_case(value) != "chunked") return bad("an unknown transfer coding");
      coded = true;
    }
    if (name == "content-length") {
      const auto said = number(value, 10);
      if (!said) return bad("the Content-Length is no number");
      if (length && *length != *said) return bad("two lengths");
      length = said;
    }
  }
  // Two programs that disagree on which of the two counts disagree on where the next answer begins.
  if (coded && length) return bad("both a length and chunks");
  if (coded && answer.minor == 0) return bad("chunks in an answer of HTTP/1.0");
  if (head.status < 200 || head.status == 204 || head.status == 304) return framing;
  if (coded) {
    framing.kind = HttpFraming::Kind::kChunked;
  } else if (length) {
    framing.kind = HttpFraming::Kind::kLength;
    framing.length = *length;
  } else {
    framing.kind = HttpFraming::Kind::kUntilClose;
    framing.keeps = false;
  }
  return framing;
}

void HttpAnswerReader::fail(std::string why) {
  state_ = State::kFailed;
  framing_.keeps = false;
  failure_ = std::move(why);
}

/// The wire gave no bytes.
void HttpAnswerReader::stop(HttpWire::State why) {
  using Wire = HttpWire::State;
  if (why == Wire::kNothing) return;
  if (why == Wire::kBroken) return fail("the connection broke: " + wire_.complaint());
  if (state_ == State::kHead) {
    return fail(begun_ ? "the connection closed within the head of the answer"
                       : "the connection closed without an answer");
  }
  switch (framing_.kind) {
    case HttpFraming::Kind::kUntilClose: state_ = State::kEnded; return;
    case HttpFraming::Kind::kLength:
      return fail(fmt::format("the connection closed {} bytes before the body's end", left_));
    default: return fail("the connection closed before the last chunk");
  }
}

bool HttpAnswerReader::fill_buffer() {
  if (used_ > 0) {
    buffer_.erase(0, used_);
    used_ = 0;
  }
  const std::size_t had = buffer_.size();
  buffer_.resize(had + kPiece);
  const HttpWire::Got got = wire_.receive(std::as_writable_bytes(std::span(buffer_).subspan(had)));
  const bool some = got.state == HttpWire::State::kBytes;
  buffer_.resize(had + (some ? got.bytes : 0));
  begun_ = begun_ || some;
  if (!some) stop(got.state);
  return some;
}

HttpAnswerReader::State HttpAnswerReader::read_head() {
  while (state_ == State::kHead) {
    const std::string_view text = std::string_view(buffer_).substr(used_);
    const std::size_t end = head_end(text);
    if (std::min(end, text.size()) > kMostHead) {
      fail("the head of the answer is longer than 64 KiB");
      break;
    }
    if (end == text.npos) {
      if (!fill_buffer()) break;
      continue;
    }
    auto parsed = parse_http_head(text.substr(0, end));
    auto framing = parsed ? framing_of(*parsed) : Result<HttpFraming>(parsed.error());
    if (!framing) {
      fail(framing.error().message);
      break;
    }
    used_ += end;
    if (parsed->head.status < 200) {  // provisional: the answer itself follows
      if (parsed->head.status == 101 || ++provisional_ > kMostProvisional) {
        fail("the answer is no HTTP/1.1: a provisional one that was not asked for");
      }
      continue;
    }
    answer_ = std::move(*parsed);
    framing_ = *framing;
    left_ = framing_.length;
    const bool empty = framing_.kind == HttpFraming::Kind::kNone ||
                       (framing_.kind == HttpFraming::Kind::kLength && left_ == 0);
    state_ = empty ? State::kEnded : State::kBody;
  }
  return state_;
}

/// Bytes of a body, straight from the wire where none are buffered.
std::size_t HttpAnswerReader::take(std::span<std::byte> into) {
  if (buffered() > 0) {
    const std::size_t count = std::min(into.size(), buffered());
    std::memcpy(into.data(), buffer_.data() + used_, count);
    used_ += count;
    taken_ += count;
    return count;
  }
  const HttpWire::Got got = wire_.receive(into);
  if (got.state != HttpWire::State::kBytes) {
    stop(got.state);
    return 0;
  }
  taken_ += got.bytes;
  return got.bytes;
}

std::size_t HttpAnswerReader::read(std::span<std::byte> into) {
  if (state_ != State::kBody || into.empty()) return 0;
  switch (framing_.kind) {
    case HttpFraming::Kind::kChunked: return read_chunks(into);
    case HttpFraming::Kind::kUntilClose: return take(into);
    default: break;
  }
  const std::size_t count = take(into.first(std::min<std::uint64_t>(into.size(), left_)));
  left_ -= count;
  if (left_ == 0) state_ = State::kEnded;
  return count;
}

/// The next line of the buffer, without its end; nothing when it is not there, or too long.
std::optional<std::string_view> HttpAnswerReader::line() {
  while (true) {
    const std::string_view text = std::string_view(buffer_).substr(used_);
    const std::size_t end = text.find("\r\n");
    if (end != text.npos && end <= kMostLine) {
      used_ += end + 2;
      return text.substr(0, end);
    }
    if (text.size() > kMostLine) {
      fail("the answer is no HTTP/1.1: a line between chunks is too long");
      return {};
    }
    if (!fill_buffer()) return {};
  }
}

bool HttpAnswerReader::begin_chunk(std::string_view line) {
  const auto size = number(trimmed(line.substr(0, line.find(';'))), 16);
  if (!size) {
    fail("the answer is no HTTP/1.1: the size of a chunk is no number");
    return false;
  }
  left_ = *size;
  chunk_ = left_ > 0 ? Chunk::kData : Chunk::kTrailer;
  return true;
}

std::size_t HttpAnswerReader::read_chunks(std::span<std::byte> into) {
  while (state_ == State::kBody) {
    if (chunk_ == Chunk::kData) {
      const std::size_t count = take(into.first(std::min<std::uint64_t>(into.size(), left_)));
      left_ -= count;
      if (left_ == 0) chunk_ = Chunk::kBreak;
      return count;
    }
    const auto text = line();
    if (!text) return 0;
    switch (chunk_) {
      case Chunk::kSize:
        if (!begin_chunk(*text)) return 0;
        break;
      case Chunk::kBreak:
        if (!text->empty()) {
          fail("the answer is no HTTP/1.1: a chunk is longer than its size");
          return 0;
        }
        chunk_ = Chunk::kSize;
        break;
      default:  // trailers: nobody looks at them
        trailer_bytes_ += text->size();
        if (trailer_bytes_ > kMostHead) fail("the answer is no HTTP/1.1: its trailer has no end");
        if (text->empty()) state_ = State::kEnded;
    }
  }
  return 0;
}

}  // namespace shardreel
