#pragma once
// What an answer to a request for a range means: pure.

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "loader/read/http/http_client.h"
#include "shardreel/error.h"

namespace shardreel {

/// What tells one version of an object from another.
struct ObjectIdentity {
  std::uint64_t size = 0;
  std::string etag;           ///< as sent, quotes and all; empty = none
  std::string last_modified;  ///< empty = none
};

/// A header that makes the server refuse when the object is no longer this one; empty where nothing
/// is known to ask by.
[[nodiscard]] std::string condition_header(const ObjectIdentity& identity);

/// "bytes 0-99/1234"; `total` is nothing for '*'.
struct ContentRange {
  std::uint64_t first = 0, last = 0;
  std::optional<std::uint64_t> total;
};
[[nodiscard]] std::optional<ContentRange> parse_content_range(std::string_view text);

/// "Retry-After": seconds, or a date.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_retry_after(
    std::string_view text, std::chrono::system_clock::time_point now);

/// What was asked: bytes [first, first + bytes), of this version of the object where one is known.
struct RangeQuestion {
  std::uint64_t first = 0;
  std::uint64_t bytes = 0;
  const ObjectIdentity* expected = nullptr;
};

struct RangeAnswer {
  enum class Kind {
    kTake,      ///< the body holds `bytes` bytes from `first` on
    kEnd,       ///< there is nothing at `first`: the object ends at or before it
    kRetry,     ///< may be better next time
    kRedirect,  ///< see the Location header
    kRefused,   ///< 401, 403: perhaps other credentials
    kFail,      ///< the same next time
  };
  Kind kind = Kind::kFail;
  std::uint64_t bytes = 0;
  ObjectIdentity identity;                               ///< with kTake and kEnd
  ErrorCode code = ErrorCode::kIo;                       ///< with kRefused and kFail
  std::string reason;                                    ///< for people; with all but kTake
  std::optional<std::chrono::milliseconds> retry_after;  ///< with kRetry
};

/// Judge the head of an answer.
[[nodiscard]] RangeAnswer judge_range(const HttpHead& head, const RangeQuestion& question);

/// The server's own words in the body of an error: S3's code and message, or the first line of a
/// plain text; empty for anything else.
[[nodiscard]] std::string server_reason(std::string_view body);

}  // namespace shardreel
