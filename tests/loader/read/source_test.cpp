// Sources by URL: files, pipes, standard input; and what cannot be opened.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <csignal>
#include <fstream>
#include <future>
#include <string>
#include <thread>

#include "loader/read/open_source.h"
#include "loader/read/wait_bound.h"
#include "shards/unique_fd.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

class SourceTest : public ::testing::Test {
 protected:
  SourceTest() : thread_([this] { loop_.run(); }) {}
  ~SourceTest() override {
    loop_.stop();
    thread_.join();
  }

  Result<std::unique_ptr<ByteStream>> open(const std::string& url) {
    return open_source(url, options_, loop_, nullptr, stop_.get_token());
  }

  /// Read to the end or the first error, in odd portions.
  static Result<std::string> read_all(ByteStream& stream) {
    std::string text;
    std::string block(777, '\0');
    for (;;) {
      const auto got = stream.read(std::as_writable_bytes(std::span(block)));
      if (!got) return got.error();
      if (*got == 0) return text;
      text.append(block, 0, *got);
    }
  }

  InputOptions options_;
  std::stop_source stop_;
  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      loop_.get_executor()};
  std::thread thread_;
};

TEST(WaitBound, CountsWaitsAtOneMomentOnceAndNothingBetweenThem) {
  using std::chrono::milliseconds;
  const auto until = [](WaitBound::Clock::time_point end) {
    while (WaitBound::Clock::now() < end) std::this_thread::yield();
  };
  WaitBound bound(std::chrono::seconds(100));
  const auto begin = WaitBound::Clock::now();
  {
    const WaitBound::Wait one(bound);
    until(begin + milliseconds(30));
    const WaitBound::Wait two(bound);
    EXPECT_EQ(one.deadline(), two.deadline());
  }
  const auto waited = WaitBound::Clock::now() - begin;
  until(begin + 4 * waited);  // the consumer's
  const auto again = WaitBound::Clock::now();
  const WaitBound::Wait three(bound);
  EXPECT_GE(three.deadline(), again + std::chrono::seconds(100) - waited);
  EXPECT_LE(three.deadline(),
            WaitBound::Clock::now() + std::chrono::seconds(100) - milliseconds(30));
}

TEST_F(SourceTest, FilesByPathAndByScheme) {
  testing::ScratchDir dir;
  const std::string path = dir / "a#b.tar";
  std::ofstream(path) << "content";
  for (const std::string& url :
       {path, "file:" + path, "file://" + path, "file://localhost" + path}) {
    auto stream = open(url);
    ASSERT_TRUE(stream) << url << ": " << stream.error().describe();
    EXPECT_EQ(read_all(**stream).value(), "content");
  }
}

TEST_F(SourceTest, APipeGivesAllItsBytes) {
  auto stream = open("pipe:seq 1 300000");
  ASSERT_TRUE(stream);
  std::string expected;
  for (int i = 1; i <= 300000; ++i) expected += std::to_string(i) + "\n";
  EXPECT_EQ(read_all(**stream).value(), expected);
  const auto again = (*stream)->read({});
  EXPECT_TRUE(again.has_value());
}

TEST_F(SourceTest, TheStatusOfACommandIsChecked) {
  auto stream = open("pipe:printf abc; exit 7");
  const auto got = read_all(**stream);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kPipeFailed);
  EXPECT_NE(got.error().message.find("status 7"), std::string::npos);

  auto killed = open("pipe:kill -TERM $$");
  EXPECT_NE(read_all(**killed).error().message.find("signal 15"), std::string::npos);

  options_.integrity = Integrity::kCompat;
  auto compat = open("pipe:printf abc; exit 7");
  EXPECT_EQ(read_all(**compat).value(), "abc");
}

TEST_F(SourceTest, StoppingWakesAReaderAndKillsTheWholeGroup) {
  testing::ScratchDir dir;
  const std::string pid_file = dir / "pid";
  auto stream = open("pipe:sleep 1000 & echo $! > " + pid_file + "; echo ready; wait");
  ASSERT_TRUE(stream);
  std::string word(6, '\0');
  ASSERT_TRUE((*stream)->read(std::as_writable_bytes(std::span(word))));
  auto reading = std::async(std::launch::async, [&] { return read_all(**stream); });
  stop_.request_stop();
  ASSERT_EQ(reading.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_EQ(reading.get().error().code, ErrorCode::kStopped);
  stream->reset();
  pid_t grandchild = 0;
  std::ifstream(pid_file) >> grandchild;
  ASSERT_GT(grandchild, 0);
  // It is init's child now: reaped by it some time after the signal. A zombie answers no more.
  bool gone = false;
  for (int i = 0; i < 5000 && !gone; ++i) {
    std::ifstream stat("/proc/" + std::to_string(grandchild) + "/stat");
    std::string id, name, state;
    gone = !(stat >> id >> name >> state) || state == "Z";
    std::this_thread::yield();
    if (!gone) usleep(1000);
  }
  EXPECT_TRUE(gone);
}

TEST_F(SourceTest, AStreamThatIsGivenUpEarlyLeavesNoChild) {
  { auto stream = open("pipe:yes"); }
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST_F(SourceTest, ASilentPipeIsGivenUp) {
  options_.stall_timeout = 0.2;
  for (const std::string command : {"printf abc; sleep 31337", "printf abc; exec >&-; sleep 31337",
                                    "printf abc; sleep 31337 | sleep 31337"}) {
    auto stream = open("pipe:" + command);
    ASSERT_TRUE(stream);
    auto reading = std::async(std::launch::async, [&] { return read_all(**stream); });
    ASSERT_EQ(reading.wait_for(std::chrono::seconds(10)), std::future_status::ready) << command;
    const auto got = reading.get();
    ASSERT_FALSE(got) << command;
    EXPECT_EQ(got.error().code, ErrorCode::kIo);
    EXPECT_EQ(got.error().offset, 3U);
    for (const std::string& word : {std::string("stall_timeout"), "'" + command + "' at byte 3"})
      EXPECT_NE(got.error().message.find(word), std::string::npos) << got.error().message;
    EXPECT_EQ(read_all(**stream).error().message, got.error().message);  // and stays so
  }
}

TEST_F(SourceTest, StandardInputThatIsSilentIsGivenUpToo) {
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  const UniqueFd written(ends[1]);
  const UniqueFd kept(dup(STDIN_FILENO));
  ASSERT_EQ(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
  close(ends[0]);
  options_.stall_timeout = 0.1;
  auto stream = open("-");
  dup2(kept.get(), STDIN_FILENO);
  ASSERT_TRUE(stream);
  const auto got = read_all(**stream);
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("standard input at byte 0"), std::string::npos)
      << got.error().message;
}

TEST_F(SourceTest, APipeThatNobodyWantsBytesFromMayStandStill) {
  options_.stall_timeout = 0.3;
  options_.shard_timeout = 0.4;
  // More than the buffers hold: the writer stands still until it is read.
  auto slow = open("pipe:seq 1 300000");
  ASSERT_TRUE(slow);
  std::string word(6, '\0');
  ASSERT_TRUE((*slow)->read(std::as_writable_bytes(std::span(word))));
  // Silent ones tell that the time of both timeouts is over.
  for (int i = 0; i < 3; ++i) ASSERT_FALSE(read_all(*open("pipe:sleep 31337").value()));
  const auto rest = read_all(**slow);
  ASSERT_TRUE(rest) << rest.error().describe();
  EXPECT_TRUE(rest->ends_with("\n300000\n"));
}

TEST_F(SourceTest, AllWaitsForAPipeTogetherAreBounded) {
  options_.stall_timeout = 30;
  options_.shard_timeout = 0.5;
  auto stream = open("pipe:while :; do echo x; sleep 0.02; done");
  ASSERT_TRUE(stream);
  auto reading = std::async(std::launch::async, [&] { return read_all(**stream); });
  ASSERT_EQ(reading.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  const auto got = reading.get();
  ASSERT_FALSE(got);
  EXPECT_NE(got.error().message.find("shard_timeout"), std::string::npos) << got.error().message;
  EXPECT_GT(got.error().offset, 2U);
}

TEST_F(SourceTest, ACommandOutlivesTheThreadThatStartedIt) {
  testing::ScratchDir dir;
  const std::string go = dir / "go";
  ASSERT_EQ(mkfifo(go.c_str(), 0600), 0);
  Result<std::unique_ptr<ByteStream>> stream = Error{};
  std::thread([&] { stream = open("pipe:echo ready; cat " + go); }).join();
  ASSERT_TRUE(stream);
  std::ofstream(go) << "went on";  // opens when the command does
  EXPECT_EQ(read_all(**stream).value(), "ready\nwent on");
}

TEST_F(SourceTest, WhatCannotBeOpenedSaysWhy) {
  for (const auto& [url, word] : std::vector<std::pair<std::string, std::string>>{
           {"/no/such/shard.tar", "No such file"},
           {"/tmp", "directory"},
           {"/dev/null", "regular file"},
           {"ftp://localhost/a.tar", "pipe:COMMAND"}}) {
    const auto stream = open(url);
    ASSERT_FALSE(stream) << url;
    EXPECT_EQ(stream.error().shard, url);
    EXPECT_NE(stream.error().describe().find(word), std::string::npos) << stream.error().describe();
  }
  options_.allow_pipe = false;
  EXPECT_EQ(open("pipe:true").error().code, ErrorCode::kNotPermitted);
}

}  // namespace
}  // namespace shardreel
