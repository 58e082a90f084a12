#include "loader/pipeline/verdict.h"

#include <gtest/gtest.h>

namespace shardreel {
namespace {

Metrics run_of(double wait, double decode, double demux, double read) {
  Metrics metrics;
  metrics.seconds = 100;
  metrics.batches = 10;
  metrics.consumer_wait_seconds = wait;
  metrics.decode_seconds = decode;
  metrics.demux_seconds = demux;
  metrics.read_wait_seconds = read;
  return metrics;
}

TEST(Verdict, NamesTheSlowestStage) {
  LoaderOptions options;
  options.resource.decode_threads = 2;
  const auto says = [&](const Metrics& metrics) { return verdict(metrics, options, 1); };
  EXPECT_EQ(says(run_of(3, 150, 1, 1)),
            "the consumer waited 3 % of the time: the consumer is the slowest stage");
  EXPECT_NE(says(run_of(90, 190, 5, 5)).find("decoding"), std::string::npos);
  EXPECT_NE(says(run_of(90, 40, 80, 5)).find("opening and cutting"), std::string::npos);
  EXPECT_NE(says(run_of(90, 40, 5, 80)).find("reading shards"), std::string::npos);
  EXPECT_EQ(says(Metrics()), "no batch was delivered");
}

}  // namespace
}  // namespace shardreel
