#include "tools/commands/signal_watch.h"

#include <gtest/gtest.h>

#include <csignal>
#include <future>
#include <string>

#include "tests/support/scratch.h"

namespace shardreel::tools {
namespace {

TEST(SignalWatchTest, RunsTheActionOnce) {
  SignalWatch watch;
  std::promise<void> acted;
  watch.on_signal([&] { acted.set_value(); });  // a second call would throw
  EXPECT_EQ(watch.received(), 0);
  std::raise(SIGTERM);
  acted.get_future().wait();
  EXPECT_EQ(watch.received(), SIGTERM);
  watch.on_signal({});
}

TEST(SignalWatchTest, AnActionThatComesLateIsRunAtOnce) {
  SignalWatch watch;
  std::promise<void> first, late;
  watch.on_signal([&] { first.set_value(); });
  std::raise(SIGINT);
  first.get_future().wait();
  watch.on_signal([&] { late.set_value(); });
  late.get_future().wait();
}

TEST(SignalWatchTest, ProgramsStartedMeanwhileCanBeEnded) {
  const SignalWatch watch;
  // A blocked SIGTERM would let `sleep` live on; `kill` and `wait` then say 0 instead of 143.
  EXPECT_EQ(testing::run_command("sh -c '(sleep 5 & kill -TERM $!; wait $!; echo $?) 2>/dev/null'"),
            "143\n");
}

TEST(SignalWatchTest, TheDefaultIsBackAfterwards) {
  { const SignalWatch watch; }
  EXPECT_EXIT(std::raise(SIGTERM), ::testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace shardreel::tools
