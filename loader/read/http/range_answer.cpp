#include "loader/read/http/range_answer.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <limits>

namespace shardreel {
namespace {

template <typename Number>
std::optional<Number> whole_number(std::string_view text) {
  Number value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (status != std::errc{} || end != text.data() + text.size() || text.empty()) return {};
  return value;
}

RangeAnswer failed(RangeAnswer::Kind kind, std::string reason, ErrorCode code = ErrorCode::kIo) {
  RangeAnswer answer;
  answer.kind = kind;
  answer.reason = std::move(reason);
  answer.code = code;
  return answer;
}

std::string header_of(const HttpHead& head, std::string_view name) {
  return std::string(head.find(name).value_or(std::string_view()));
}

/// Compare with what was read before; a complaint, or nothing.
std::string changed(const ObjectIdentity& before, const ObjectIdentity& now) {
  if (before.size != now.size) {
    return fmt::format("the object changed while it was read: {} bytes before, {} now", before.size,
                       now.size);
  }
  if (before.etag != now.etag) {
    return fmt::format("the object changed while it was read: ETag {} before, {} now",
                       before.etag.empty() ? "none" : before.etag,
                       now.etag.empty() ? "none" : now.etag);
  }
  // Replicas may disagree on the date; the ETag decides where there is one.
  if (now.etag.empty() && before.last_modified != now.last_modified) {
    return fmt::format("the object changed while it was read: of {} before, of {} now",
                       before.last_modified, now.last_modified);
  }
  return {};
}

RangeAnswer take(const HttpHead& head, const RangeQuestion& question, std::uint64_t bytes,
                 std::uint64_t total) {
  const auto length = head.find("content-length");
  if (length && whole_number<std::uint64_t>(*length) != bytes) {
    return failed(RangeAnswer::Kind::kRetry,
                  fmt::format("the answer says it is {} bytes long and has bytes {}-{}", *length,
                              question.first, question.first + bytes - 1));
  }
  RangeAnswer answer;
  answer.kind = RangeAnswer::Kind::kTake;
  answer.bytes = bytes;
  answer.identity = {total, header_of(head, "etag"), header_of(head, "last-modified")};
  if (question.expected != nullptr) {
    std::string complaint = changed(*question.expected, answer.identity);
    if (!complaint.empty()) return failed(RangeAnswer::Kind::kFail, std::move(complaint));
  }
  return answer;
}

RangeAnswer judge_partial(const HttpHead& head, const RangeQuestion& question) {
  const auto text = head.find("content-range");
  const auto range = text ? parse_content_range(*text) : std::nullopt;
  if (!range || !range->total) {
    return failed(
        RangeAnswer::Kind::kRetry,
        fmt::format("status 206 with the range '{}'; expected 'bytes {}-{}/SIZE'",
                    text.value_or("(none)"), question.first, question.first + question.bytes - 1));
  }
  // A server may give less than was asked, but not other bytes.
  const std::uint64_t end = std::min(question.first + question.bytes, *range->total);
  if (range->first != question.first || range->last < range->first || range->last >= end) {
    return failed(RangeAnswer::Kind::kRetry,
                  fmt::format("the answer has the range '{}'; expected 'bytes {}-{}/SIZE'", *text,
                              question.first, question.first + question.bytes - 1));
  }
  return take(head, question, range->last - range->first + 1, *range->total);
}

/// Status 200: the whole object, whatever was asked. Good where it is no more than that.
RangeAnswer judge_whole(const HttpHead& head, const RangeQuestion& question) {
  constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();
  const auto length = head.find("content-length");
  const std::uint64_t size =
      length ? whole_number<std::uint64_t>(*length).value_or(kUnknown) : kUnknown;
  // A whole object has no range: what says both is not to be trusted.
  if (question.first == 0 && size <= question.bytes && !head.find("content-range")) {
    if (size > 0) return take(head, question, size, size);
    RangeAnswer answer = failed(RangeAnswer::Kind::kEnd, "the object is empty");
    answer.identity = {0, header_of(head, "etag"), header_of(head, "last-modified")};
    return answer;
  }
  return failed(RangeAnswer::Kind::kRetry,
                fmt::format("the server ignores ranges: it answered a request for bytes {}-{} with "
                            "the whole object (status 200); expected status 206",
                            question.first, question.first + question.bytes - 1));
}

RangeAnswer judge_behind(const HttpHead& head, const RangeQuestion& question) {
  const std::string text = header_of(head, "content-range");
  const std::size_t slash = text.find('/');
  const auto size = slash == std::string::npos
                        ? std::nullopt
                        : whole_number<std::uint64_t>(std::string_view(text).substr(slash + 1));
  if (question.expected != nullptr) {
    return failed(RangeAnswer::Kind::kFail,
                  fmt::format("the object changed while it was read: {} bytes before, {} now",
                              question.expected->size, size ? std::to_string(*size) : "fewer"));
  }
  if (question.first == 0) {
    RangeAnswer answer = failed(RangeAnswer::Kind::kEnd, "the object is empty");
    answer.identity = {0, header_of(head, "etag"), header_of(head, "last-modified")};
    return answer;
  }
  return failed(RangeAnswer::Kind::kFail,
                fmt::format("status 416: byte {} is not in the object ({})", question.first, text));
}

std::string between(std::string_view text, std::string_view begin, std::string_view end) {
  const std::size_t from = text.find(begin);
  if (from == std::string_view::npos) return {};
  text.remove_prefix(from + begin.size());
  const std::size_t to = text.find(end);
  return to == std::string_view::npos ? std::string() : std::string(text.substr(0, to));
}

/// One line of printable text.
std::string one_line(std::string_view text) {
  constexpr std::size_t kMost = 200;
  std::string out;
  for (const char c : text.substr(0, kMost)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

}  // namespace

std::string condition_header(const ObjectIdentity& identity) {
  // A weak ETag never matches in If-Match: it is compared when the answer comes.
  if (!identity.etag.empty() && !identity.etag.starts_with("W/")) {
    return "If-Match: " + identity.etag;
  }
  if (identity.etag.empty() && !identity.last_modified.empty()) {
    return "If-Unmodified-Since: " + identity.last_modified;
  }
  return {};
}

std::optional<ContentRange> parse_content_range(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return {};
  text.remove_prefix(kUnit.size());
  const std::size_t dash = text.find('-');
  const std::size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos || slash < dash) return {};
  const auto first = whole_number<std::uint64_t>(text.substr(0, dash));
  const auto last = whole_number<std::uint64_t>(text.substr(dash + 1, slash - dash - 1));
  if (!first || !last || *last < *first) return {};
  ContentRange range{*first, *last, {}};
  const std::string_view total = text.substr(slash + 1);
  if (total == "*") return range;
  range.total = whole_number<std::uint64_t>(total);
  if (!range.total || *range.total <= range.last) return {};
  return range;
}

std::optional<std::chrono::milliseconds> parse_retry_after(
    std::string_view text, std::chrono::system_clock::time_point now) {
  constexpr std::int64_t kMostSeconds = 86400;
  if (const auto seconds = whole_number<std::uint32_t>(text)) {
    return std::chrono::seconds(std::min<std::int64_t>(*seconds, kMostSeconds));
  }
  const time_t date = curl_getdate(std::string(text).c_str(), nullptr);
  if (date < 0) return {};
  const std::int64_t seconds = date - std::chrono::system_clock::to_time_t(now);
  return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, kMostSeconds));
}

RangeAnswer judge_range(const HttpHead& head, const RangeQuestion& question) {
  using Kind = RangeAnswer::Kind;
  switch (head.status) {
    case 206: return judge_partial(head, question);
    case 200: return judge_whole(head, question);
    case 416: return judge_behind(head, question);
    case 412: return failed(Kind::kFail, "the object changed while it was read (status 412)");
    case 404:
    case 410:
      return failed(Kind::kFail, fmt::format("status {}", head.status), ErrorCode::kNotFound);
    case 401:
    case 403:
    case 407:
      return failed(Kind::kRefused, fmt::format("status {}", head.status),
                    ErrorCode::kNotPermitted);
    case 301:
    case 302:
    case 303:
    case 307:
    case 308: return failed(Kind::kRedirect, fmt::format("status {}", head.status));
    case 400: return failed(Kind::kRefused, "status 400");
    case 408:
    case 425:
    case 429: break;
    default:
      if (head.status < 500 || head.status == 501 || head.status == 505) {
        return failed(Kind::kFail, fmt::format("status {}", head.status));
      }
  }
  RangeAnswer answer = failed(Kind::kRetry, fmt::format("status {}", head.status));
  if (const auto text = head.find("retry-after")) {
    answer.retry_after = parse_retry_after(*text, std::chrono::system_clock::now());
  }
  return answer;
}

std::string server_reason(std::string_view body) {
  // Only these two: the rest of S3's errors may repeat what was signed.
  const std::string code = between(body, "<Code>", "</Code>");
  const std::string message = between(body, "<Message>", "</Message>");
  if (!code.empty()) return one_line(message.empty() ? code : code + ": " + message);
  if (body.find('<') != std::string_view::npos || body.starts_with("{")) return {};
  return one_line(body.substr(0, body.find('\n')));
}

}  // namespace shardreel
