#include "tools/commands/feed_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "shardreel/units.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

double per_second(std::uint64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

/// Of the run's order and pixels; the second when every lane kept it.
std::pair<Digest, std::optional<Digest>> run_digests(const FeedOutcome& outcome) {
  std::vector<Digest> orders, pixels;
  for (const LaneOutcome& lane : outcome.lanes) {
    orders.push_back(lane.order);
    if (lane.pixels) pixels.push_back(*lane.pixels);
  }
  if (pixels.size() < orders.size()) return {combine(orders), std::nullopt};
  return {combine(orders), combine(pixels)};
}

Json digest_json(const std::optional<Digest>& digest) {
  return digest ? Json(hex(*digest)) : Json();
}

Json ledger_peaks(const Metrics& metrics) {
  Json peaks = Json::object();
  for (const auto& [tag, use] : metrics.ledger) peaks[tag] = use.peak;
  return peaks;
}

Json lanes_json(const FeedOutcome& outcome) {
  Json lanes = Json::array();
  for (const LaneOutcome& lane : outcome.lanes) {
    lanes.push_back({{"clips", lane.clips},
                     {"batches", lane.batches},
                     {"order_digest", hex(lane.order)},
                     {"pixel_digest", digest_json(lane.pixels)}});
  }
  return lanes;
}

Json details_json(const Metrics& m, const FeedOutcome& outcome) {
  Json details;
  details["rank_source"] = outcome.rank_source;
  details["first_batch_at"] = outcome.first_batch_at ? Json(*outcome.first_batch_at) : Json();
  details["verdict"] = m.verdict;
  details["samples_complete"] = m.samples_complete;
  details["samples_filtered"] = m.samples_filtered;
  details["clips_cut"] = m.clips_cut;
  details["clips_repeated"] = m.clips_repeated;
  details["frames_decoded"] = m.frames_decoded;
  details["shards_opened"] = m.shards_opened;
  details["bytes_read"] = m.bytes_read;
  details["remote_requests"] = m.remote_requests;
  details["remote_retries"] = m.remote_retries;
  details["remote_redirects"] = m.remote_redirects;
  details["remote_bytes"] = m.remote_bytes;
  details["cache_hits"] = m.cache_hits;
  details["cache_misses"] = m.cache_misses;
  details["cache_stored"] = m.cache_stored;
  details["cache_evicted"] = m.cache_evicted;
  details["ledger_peak_total_bytes"] = m.ledger_peak_bytes;
  details["baseline_anonymous_bytes"] = m.baseline_anonymous_bytes;
  details["peak_anonymous_bytes"] = m.peak_anonymous_bytes;
  details["read_wait_seconds"] = m.read_wait_seconds;
  details["demux_seconds"] = m.demux_seconds;
  details["decode_seconds"] = m.decode_seconds;
  details["decode_idle_seconds"] = m.decode_idle_seconds;
  details["batch_wait_seconds"] = m.batch_wait_seconds;
  details["first_failures"] = Json::array();
  for (const Error& failure : m.first_failures)
    details["first_failures"].push_back(to_json(failure));
  return details;
}

std::string counts_text(const std::map<std::string, std::uint64_t>& counts) {
  std::string text;
  for (const auto& [reason, count] : counts) {
    if (count != 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", reason, count);
  }
  return text.empty() ? "none" : text;
}

}  // namespace

std::string report_json(const Metrics& m, const LoaderOptions& resolved,
                        const FeedOutcome& outcome) {
  const auto [order, pixels] = run_digests(outcome);
  Json report;
  report["clips"] = m.clips;
  report["batches"] = m.batches;
  report["frames"] = m.frames;
  report["samples"] = m.samples;
  report["samples_partial"] = m.samples_partial;
  report["samples_skipped"] = m.samples_skipped;
  report["skipped_by_reason"] = m.skipped_by_reason;
  report["clips_dropped_by_reason"] = m.clips_dropped_by_reason;
  report["clips_by_decoder"] = m.clips_by_decoder;
  report["clips_from_device"] = m.clips_from_device;
  report["gpu_sessions"] = m.gpu_sessions;
  report["decode_costs"] = m.decode_costs;
  report["shards_failed"] = m.shards_failed;
  report["seconds"] = m.seconds;
  report["clips_per_second"] = per_second(m.clips, m.seconds);
  report["frames_per_second"] = per_second(m.frames, m.seconds);
  report["first_batch_seconds"] = m.first_batch_seconds;
  report["consumer_wait_seconds"] = m.consumer_wait_seconds;
  report["peak_shuffle_clips"] = m.peak_shuffle_clips;
  report["peak_rss_bytes"] = m.peak_rss_bytes;
  report["peak_pss_bytes"] = m.peak_pss_bytes;
  report["ledger_peak_bytes"] = ledger_peaks(m);
  report["resolved_options"] = Json::parse(resolved.to_json());
  report["order_digest"] = hex(order);
  report["pixel_digest"] = digest_json(pixels);
  report["lanes"] = lanes_json(outcome);
  report["details"] = details_json(m, outcome);
  if (outcome.failure) {
    report["error"] = {{"code", to_string(outcome.failure->code)},
                       {"message", outcome.failure->describe()}};
  } else if (outcome.signal != 0) {
    report["error"] = {{"code", to_string(ErrorCode::kStopped)},
                       {"message", fmt::format("stopped by signal {}", outcome.signal)}};
  }
  return report.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string report_text(const Metrics& m, const FeedOutcome& outcome) {
  const auto [order, pixels] = run_digests(outcome);
  std::string peaks;
  for (const auto& [tag, use] : m.ledger)
    peaks += fmt::format("{}{} {}", peaks.empty() ? "" : ", ", tag, format_bytes(use.peak));
  std::string text;
  text += fmt::format(
      "{} clips in {} batches ({} frames) in {:.2f} s: {:.1f} clips/s, {:.0f} frames/s\n", m.clips,
      m.batches, m.frames, m.seconds, per_second(m.clips, m.seconds),
      per_second(m.frames, m.seconds));
  text += fmt::format("samples        {}: {} complete, {} partial, {} skipped (by reason: {})\n",
                      m.samples, m.samples_complete, m.samples_partial, m.samples_skipped,
                      counts_text(m.skipped_by_reason));
  if (m.samples_filtered != 0) text += fmt::format("filtered       {}\n", m.samples_filtered);
  text += fmt::format("shards         {} opened, {} failed\n", m.shards_opened, m.shards_failed);
  text += fmt::format("clips dropped  {}\n", counts_text(m.clips_dropped_by_reason));
  if (!m.clips_by_decoder.empty())
    text += fmt::format("decoded by     {}\n", counts_text(m.clips_by_decoder));
  if (!m.gpu_sessions.empty())
    text += fmt::format("gpu sessions   {}\n", counts_text(m.gpu_sessions));
  text += fmt::format("first batch    after {:.2f} s\n", m.first_batch_seconds);
  text += fmt::format("memory         peak RSS {}, ledger peak {} ({})\n",
                      format_bytes(m.peak_rss_bytes), format_bytes(m.ledger_peak_bytes), peaks);
  text += fmt::format("order digest   {}\n", hex(order));
  if (pixels) text += fmt::format("pixel digest   {}\n", hex(*pixels));
  if (!m.verdict.empty()) text += m.verdict + "\n";
  return text;
}

std::string unaccounted_memory(const Metrics& m) {
  constexpr double kMostDivergence = 0.15;
  // Below this the comparison says nothing: libraries and stacks weigh more.
  constexpr std::uint64_t kWorthComparing = 256_MiB;
  // Memory that is kept for reuse counts as in use for the kernel, so the tags' peaks are what
  // compares.
  std::uint64_t kept = 0;
  for (const auto& [tag, use] : m.ledger) kept += use.peak;
  const std::uint64_t grown =
      m.peak_anonymous_bytes - std::min(m.peak_anonymous_bytes, m.baseline_anonymous_bytes);
  if (kept < kWorthComparing ||
      static_cast<double>(grown) <= (1 + kMostDivergence) * static_cast<double>(kept))
    return {};
  return fmt::format("the process has grown by {}, the memory ledger accounts for {} at most",
                     format_bytes(grown), format_bytes(kept));
}

}  // namespace shardreel::tools
