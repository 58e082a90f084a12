#include "tools/commands/feed_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "shardreel/units.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

Metrics some_metrics() {
  Metrics metrics;
  metrics.clips = 30;
  metrics.batches = 4;
  metrics.frames = 480;
  metrics.samples = 12;
  metrics.samples_complete = 10;
  metrics.samples_partial = 1;
  metrics.samples_skipped = 1;
  metrics.skipped_by_reason = {{"decode_error", 1}};
  metrics.clips_dropped_by_reason = {{"drop_last", 3}};
  metrics.seconds = 2;
  metrics.ledger = {{"clip", {10, 1000}}, {"decode", {0, 500}}};
  metrics.ledger_peak_bytes = 1200;
  metrics.first_failures = {{ErrorCode::kDecodeError, "bad \xff", "a.tar", "k", 512}};
  return metrics;
}

FeedOutcome two_lanes() {
  FeedOutcome outcome;
  outcome.lanes = {{Digest{1}, Digest{2}, 20, 3}, {Digest{3}, Digest{4}, 10, 1}};
  return outcome;
}

TEST(FeedReportTest, JsonHasThePromisedNames) {
  const Json report = Json::parse(report_json(some_metrics(), LoaderOptions{}, two_lanes()));
  for (const char* name : {"clips",
                           "batches",
                           "frames",
                           "samples",
                           "samples_partial",
                           "samples_skipped",
                           "skipped_by_reason",
                           "clips_dropped_by_reason",
                           "shards_failed",
                           "seconds",
                           "clips_per_second",
                           "frames_per_second",
                           "first_batch_seconds",
                           "consumer_wait_seconds",
                           "peak_rss_bytes",
                           "peak_pss_bytes",
                           "ledger_peak_bytes",
                           "resolved_options",
                           "order_digest",
                           "pixel_digest",
                           "lanes"}) {
    EXPECT_TRUE(report.contains(name)) << name;
  }
  EXPECT_EQ(report["clips_per_second"], 15.0);
  EXPECT_EQ(report["ledger_peak_bytes"], Json::parse(R"({"clip": 1000, "decode": 500})"));
  EXPECT_EQ(report["resolved_options"]["num_frames"], 16);
  EXPECT_EQ(report["lanes"][1]["clips"], 10);
  EXPECT_EQ(report["lanes"][0]["order_digest"], "01000000000000000000000000000000");
  EXPECT_EQ(report["order_digest"], hex(combine(std::vector{Digest{1}, Digest{3}})));
  EXPECT_EQ(report["pixel_digest"], hex(combine(std::vector{Digest{2}, Digest{4}})));
  EXPECT_EQ(report["details"]["first_failures"][0]["offset"], 512);
  EXPECT_TRUE(report["details"]["first_batch_at"].is_null());
  EXPECT_FALSE(report.contains("error"));
}

TEST(FeedReportTest, FailuresAndSignalsAreSaid) {
  FeedOutcome failed = two_lanes();
  failed.failure = Error{ErrorCode::kSkipRatio, "too many", "a.tar", "", {}};
  const Json report = Json::parse(report_json(some_metrics(), LoaderOptions{}, failed));
  EXPECT_EQ(report["error"]["code"], "skip_ratio");
  EXPECT_THAT(report["error"]["message"].get<std::string>(), HasSubstr("a.tar"));
  FeedOutcome stopped = two_lanes();
  stopped.signal = 15;
  EXPECT_EQ(Json::parse(report_json({}, LoaderOptions{}, stopped))["error"]["code"], "stopped");
}

TEST(FeedReportTest, ARunOfNothingHasNoRates) {
  const Json report = Json::parse(report_json({}, LoaderOptions{}, {}));
  EXPECT_EQ(report["clips_per_second"], 0);
  EXPECT_EQ(report["frames_per_second"], 0);
}

TEST(FeedReportTest, TextSaysWhatHappened) {
  const std::string text = report_text(some_metrics(), two_lanes());
  for (const char* part :
       {"30 clips in 4 batches", "15.0 clips/s", "decode_error 1", "drop_last 3", "1.2 KiB"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST(FeedReportTest, MemoryThatTheLedgerDoesNotKnowIsNoticed) {
  Metrics metrics;
  metrics.baseline_anonymous_bytes = 100_MiB;
  metrics.ledger = {{"clip", {0, 600_MiB}}, {"decode", {50_MiB, 400_MiB}}};
  metrics.peak_anonymous_bytes = 1250_MiB;  // grown by 1150 MiB, a seventh over the ledger
  EXPECT_EQ(unaccounted_memory(metrics), "");
  metrics.peak_anonymous_bytes = 1251_MiB;
  EXPECT_THAT(unaccounted_memory(metrics), HasSubstr("the memory ledger accounts for 1000.0 MiB"));
  // A small run, where libraries weigh more, and one that ended before anything was measured.
  metrics.ledger = {{"clip", {0, 255_MiB}}};
  EXPECT_EQ(unaccounted_memory(metrics), "");
  EXPECT_EQ(unaccounted_memory(Metrics{}), "");
}

}  // namespace
}  // namespace shardreel::tools
