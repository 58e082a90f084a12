#include "loader/pipeline/verdict.h"

#include <fmt/format.h>

#include <algorithm>

namespace shardreel {

std::string verdict(const Metrics& metrics, const LoaderOptions& options, std::size_t lanes) {
  if (metrics.seconds <= 0 || metrics.batches == 0) return "no batch was delivered";
  const auto part = [&](double spent, double over) {
    return std::clamp(spent / (metrics.seconds * over), 0.0, 1.0);
  };
  const auto lane_count = static_cast<double>(lanes);
  const double waited = part(metrics.consumer_wait_seconds, lane_count);
  const double decoding = part(metrics.decode_seconds, options.resource.decode_threads);
  const double demuxing = part(metrics.demux_seconds, lane_count);
  const double reading = part(metrics.read_wait_seconds, lane_count);

  std::string slowest;
  if (waited < 0.05) {
    slowest = "the consumer is the slowest stage";
  } else if (decoding >= 0.75) {
    slowest = fmt::format("decoding is the slowest stage ({} threads busy {:.0f} % of the time)",
                          options.resource.decode_threads, 100 * decoding);
  } else if (demuxing >= std::max(decoding, reading)) {
    slowest = fmt::format("opening and cutting videos is the slowest stage ({:.0f} % of the time)",
                          100 * demuxing);
  } else if (reading >= decoding) {
    slowest = fmt::format(
        "reading shards is the slowest stage (waited for it {:.0f} % of the time)", 100 * reading);
  } else {
    slowest = fmt::format(
        "decode threads were busy {:.0f} % of the time; start-up or memory held them back",
        100 * decoding);
  }
  return fmt::format("the consumer waited {:.0f} % of the time: {}", 100 * waited, slowest);
}

}  // namespace shardreel
