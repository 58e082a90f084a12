// What answers mean, without a network.

#include "loader/read/http/range_answer.h"

#include <gtest/gtest.h>

#include "loader/read/http/retry_policy.h"

namespace shardreel {
namespace {

using Kind = RangeAnswer::Kind;
using namespace std::chrono_literals;

HttpHead head(int status, std::vector<std::pair<std::string, std::string>> headers = {}) {
  return {status, std::move(headers)};
}

TEST(ContentRange, TakesWhatTheStandardSays) {
  const auto range = parse_content_range("bytes 5-9/10");
  ASSERT_TRUE(range);
  EXPECT_EQ(range->first, 5U);
  EXPECT_EQ(range->last, 9U);
  EXPECT_EQ(range->total, 10U);
  EXPECT_FALSE(parse_content_range("bytes 0-0/*")->total);
  for (const char* bad :
       {"", "bytes", "bytes 5-4/10", "bytes 5-10/10", "bytes */10", "items 0-1/2", "bytes 0-1",
        "bytes -1-2/3", "bytes 0-99999999999999999999/3", "bytes 0-1/2x"})
    EXPECT_FALSE(parse_content_range(bad)) << bad;
}

TEST(JudgeRange, OnlyTheAskedBytesAreTaken) {
  const RangeQuestion question{.first = 100, .bytes = 50};
  const auto judged = [&](const char* range) {
    return judge_range(head(206, {{"content-range", range}}), question).kind;
  };
  EXPECT_EQ(judged("bytes 100-149/1000"), Kind::kTake);
  EXPECT_EQ(judged("bytes 100-119/1000"), Kind::kTake);  // less, and it says so
  EXPECT_EQ(judged("bytes 100-119/120"), Kind::kTake);   // the object's end
  EXPECT_EQ(judged("bytes 99-149/1000"), Kind::kRetry);
  EXPECT_EQ(judged("bytes 101-149/1000"), Kind::kRetry);
  EXPECT_EQ(judged("bytes 100-150/1000"), Kind::kRetry);
  EXPECT_EQ(judged("bytes 0-49/1000"), Kind::kRetry);
  EXPECT_EQ(judged("bytes 100-149/*"), Kind::kRetry);
  EXPECT_EQ(judge_range(head(206), question).kind, Kind::kRetry);
  const auto wrong = judge_range(
      head(206, {{"content-range", "bytes 100-149/1000"}, {"content-length", "49"}}), question);
  EXPECT_EQ(wrong.kind, Kind::kRetry);
  EXPECT_NE(wrong.reason.find("49"), std::string::npos);
}

TEST(JudgeRange, AWholeObjectIsTakenOnlyWhereItIsWhatWasAsked) {
  const auto whole = [](const char* length, std::uint64_t first) {
    return judge_range(head(200, {{"content-length", length}}), {.first = first, .bytes = 50}).kind;
  };
  EXPECT_EQ(whole("50", 0), Kind::kTake);
  EXPECT_EQ(whole("7", 0), Kind::kTake);
  EXPECT_EQ(whole("0", 0), Kind::kEnd);
  EXPECT_EQ(whole("51", 0), Kind::kRetry);
  EXPECT_EQ(whole("50", 1), Kind::kRetry);
  EXPECT_EQ(judge_range(head(200), {.first = 0, .bytes = 50}).kind, Kind::kRetry);
}

TEST(JudgeRange, AnotherVersionIsNeverTaken) {
  const ObjectIdentity before{1000, "\"a\"", "Mon"};
  const auto judged = [&](std::vector<std::pair<std::string, std::string>> headers, int status) {
    return judge_range(head(status, std::move(headers)),
                       {.first = 100, .bytes = 50, .expected = &before});
  };
  EXPECT_EQ(judged({{"content-range", "bytes 100-149/1000"}, {"etag", "\"a\""}}, 206).kind,
            Kind::kTake);
  for (const auto& [range, etag] : std::vector<std::pair<std::string, std::string>>{
           {"bytes 100-149/1001", "\"a\""}, {"bytes 100-149/1000", "\"b\""}}) {
    const auto answer = judged({{"content-range", range}, {"etag", etag}}, 206);
    EXPECT_EQ(answer.kind, Kind::kFail);
    EXPECT_NE(answer.reason.find("changed"), std::string::npos) << answer.reason;
  }
  EXPECT_EQ(judged({{"content-range", "bytes 100-149/1000"}}, 206).kind, Kind::kFail);
  EXPECT_EQ(judged({}, 412).kind, Kind::kFail);
  EXPECT_EQ(judged({{"content-range", "bytes */90"}}, 416).kind, Kind::kFail);
}

TEST(JudgeRange, StatusesAreRetriedOnlyWhereThatCanHelp) {
  for (const int status : {408, 425, 429, 500, 502, 503, 504, 599})
    EXPECT_EQ(judge_range(head(status), {.bytes = 1}).kind, Kind::kRetry) << status;
  for (const int status : {404, 405, 410, 451, 501, 505})
    EXPECT_EQ(judge_range(head(status), {.bytes = 1}).kind, Kind::kFail) << status;
  for (const int status : {301, 302, 303, 307, 308})
    EXPECT_EQ(judge_range(head(status), {.bytes = 1}).kind, Kind::kRedirect) << status;
  EXPECT_EQ(judge_range(head(404), {.bytes = 1}).code, ErrorCode::kNotFound);
  EXPECT_EQ(judge_range(head(403), {.bytes = 1}).code, ErrorCode::kNotPermitted);
  EXPECT_EQ(judge_range(head(416, {{"content-range", "bytes */0"}}), {.bytes = 1}).kind,
            Kind::kEnd);
  EXPECT_EQ(judge_range(head(503, {{"retry-after", "7"}}), {.bytes = 1}).retry_after, 7000ms);
}

TEST(ConditionHeader, AsksByWhatIsKnown) {
  EXPECT_EQ(condition_header({1, "\"a\"", "d"}), "If-Match: \"a\"");
  EXPECT_EQ(condition_header({1, "W/\"a\"", "d"}), "");
  EXPECT_EQ(condition_header({1, "", "Mon, 1"}), "If-Unmodified-Since: Mon, 1");
  EXPECT_EQ(condition_header({1, "", ""}), "");
}

TEST(RetryAfter, SecondsAndDates) {
  const auto now = std::chrono::system_clock::from_time_t(784111777);  // 06 Nov 1994 08:49:37
  EXPECT_EQ(parse_retry_after("120", now), 120'000ms);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:40 GMT", now), 3000ms);
  EXPECT_EQ(parse_retry_after("Sun, 06 Nov 1994 08:49:30 GMT", now), 0ms);
  EXPECT_EQ(parse_retry_after("99999999", now), std::chrono::milliseconds(86400s));
  EXPECT_FALSE(parse_retry_after("soon", now));
}

TEST(ServerReason, OnlyWhatCannotHoldASecret) {
  EXPECT_EQ(server_reason("<?xml?><Error><Code>NoSuchKey</Code><Message>It is\nnot</Message>"
                          "<StringToSign>secret</StringToSign></Error>"),
            "NoSuchKey: It is not");
  EXPECT_EQ(server_reason("slow down\nmore"), "slow down");
  EXPECT_EQ(server_reason("<html><body>a page</body></html>"), "");
  EXPECT_EQ(server_reason(""), "");
}

TEST(RetryPolicy, WaitsDoubleWithinBoundsAndServersAreObeyed) {
  const RetryPolicy policy{.first_wait = 100ms, .longest_wait = 1000ms};
  for (std::uint32_t attempt = 1; attempt < 40; ++attempt) {
    const auto most = std::min<std::int64_t>(1000, attempt < 10 ? 100LL << (attempt - 1) : 1000);
    for (const std::uint64_t bits : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 62}) {
      const auto wait = policy.wait_after(attempt, bits, {}).count();
      EXPECT_GE(wait, most / 2) << attempt;
      EXPECT_LE(wait, most) << attempt;
    }
  }
  EXPECT_EQ(policy.wait_after(1, 0, 5000ms), 5000ms);
  EXPECT_EQ(policy.wait_after(1, std::uint64_t{1} << 63, 1ms), 75ms);
}

}  // namespace
}  // namespace shardreel
