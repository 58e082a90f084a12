// Random schedules of faults over a set of shards: the same samples as without faults, or a failure
// that names URL and byte. Never silent, never late.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <xxhash.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <random>
#include <thread>

#include "shardreel/shard_reader.h"
#include "shardreel/shard_writer.h"
#include "tests/loader/read/http/remote_fixture.h"
#include "tests/support/fault_server.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

using namespace std::chrono_literals;
using testing::FaultReply;
using testing::FaultServer;
using testing::SeenRequest;

constexpr int kShards = 4;

/// Four shards of members of all sizes, as their bytes.
std::vector<std::string> make_contents() {
  const testing::ScratchDir dir;
  std::vector<std::string> contents;
  for (int s = 0; s < kShards; ++s) {
    auto writer =
        ShardWriter::create({.directory = dir.path().string(), .prefix = fmt::format("{}-", s)})
            .value();
    for (int i = 0; i < 12; ++i) {
      const std::size_t bytes = (std::size_t{1} << (i + 6)) + static_cast<std::size_t>(s * 1000);
      const std::vector<FieldToWrite> fields{
          {"mp4", testing::content_of(testing::pattern(bytes))},
          {"txt", testing::content_of(fmt::format("{}/{}", s, i))}};
      writer.write(fmt::format("s{}_{}", s, i), fields).value();
    }
    std::ifstream file(writer.finish().value().front().path, std::ios::binary);
    contents.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return contents;
}

/// Keys and bytes of all samples, in order; the first error ends it.
Result<std::uint64_t> digest_of(testing::Remote& remote, const std::vector<std::string>& urls) {
  XXH64_state_t* state = XXH64_createState();
  XXH64_reset(state, 0);
  std::optional<Error> failure;
  for (const std::string& url : urls) {
    auto stream = remote.open(url);
    if (!stream) {
      failure = stream.error();
      break;
    }
    // Some members in memory, some as ranges on demand.
    ShardReader reader(std::move(*stream), url, {.member_inline_bytes = 100'000});
    for (bool end = false; !end && !failure;) {
      const ReadStep step = reader.step();
      if (const auto* failed = std::get_if<FailedSample>(&step)) failure = failed->error;
      end = std::holds_alternative<ShardEnd>(step);
      const auto* sample = std::get_if<Sample>(&step);
      if (sample == nullptr) continue;
      XXH64_update(state, sample->key.data(), sample->key.size());
      for (const Field& field : sample->fields) {
        std::string bytes(field.size, '\0');
        for (std::size_t done = 0; done < bytes.size() && !failure;) {
          const std::size_t part = std::min<std::size_t>(60'000, bytes.size() - done);
          const auto got = field.content->read_at(
              done, std::as_writable_bytes(std::span(bytes)).subspan(done, part));
          if (!got)
            failure = got.error();
          else if (*got == 0)
            failure = Error{.message = "a member ends early"};
          else
            done += *got;
        }
        XXH64_update(state, bytes.data(), bytes.size());
      }
    }
    if (failure) break;
  }
  const std::uint64_t digest = XXH64_digest(state);
  XXH64_freeState(state);
  if (failure) return *failure;
  return digest;
}

std::size_t count_of(const char* folder) {
  const std::filesystem::directory_iterator files(folder);
  return static_cast<std::size_t>(std::distance(begin(files), end(files)));
}

/// One fault, or none, at random. `rate` of all answers are spoiled.
class Schedule {
 public:
  Schedule(std::uint64_t seed, double rate) : random_(seed), rate_(rate) {}

  FaultReply spoil(const SeenRequest& request, FaultReply reply, const std::string& content) {
    if (std::uniform_real_distribution<>(0, 1)(random_) >= rate_) return reply;
    const std::size_t size = reply.body.size();
    const std::size_t at = std::uniform_int_distribution<std::size_t>(0, size)(random_);
    switch (std::uniform_int_distribution<>(0, 15)(random_)) {
      case 0: return {.status = 503, .body = "busy"};
      case 1: return {.status = 429, .headers = {{"Retry-After", at % 8 == 0 ? "1" : "0"}}};
      case 2: reply.reset_after = at; break;
      case 3: reply.cut_after = at; break;
      case 4: reply.stall_after = at; break;
      case 5: reply.delay = 20ms; break;
      case 6:
        reply.piece_bytes = size / 7 + 1;
        reply.piece_delay = 2ms;
        break;
      case 7: return {.status = 307, .headers = {{"Location", request.target + "?again"}}};
      case 8: reply.content_length = at; break;
      case 9: reply.content_length = size + 1 + at; break;
      case 10: reply.no_answer = true; break;
      case 11: {  // another range than was asked for
        const std::size_t from = content.size() / 3;
        if (reply.status == 206) {
          reply.headers.back().second =
              fmt::format("bytes {}-{}/{}", from, from + size, content.size());
        }
        break;
      }
      case 12: reply.chunk_bytes = size / 5 + 1; break;
      case 13:
        reply.chunk_bytes = size / 5 + 1;
        reply.cut_after = at;
        break;
      case 14: reply.close_after = true; break;
      default:
        reply.say_length = false;
        reply.cut_after = at;
        break;
    }
    return reply;
  }

 private:
  std::mt19937_64 random_;
  double rate_;
};

/// A server of its own, and what a reader sees of it under one schedule after the other.
class Trial {
 public:
  Trial(const std::vector<std::string>& contents, FaultServer::Kind kind)
      : contents_(contents),
        server_([this](const SeenRequest& seen) { return reply(seen); }, kind) {
    for (int s = 0; s < kShards; ++s) urls_.push_back(server_.url(fmt::format("/{}.tar", s)));
    options_.ca_file = FaultServer::ca_file();
    options_.stall_timeout = 0.2;
    options_.retries = 6;
  }

  /// What comes without a fault.
  std::optional<std::uint64_t> right() {
    testing::Remote remote(options_);
    const auto digest = digest_of(remote, urls_);
    EXPECT_TRUE(digest) << digest.error().describe();
    return digest ? std::optional(*digest) : std::nullopt;
  }

  /// Return whether the bytes came; else the error says what it must.
  bool run(std::uint64_t seed, std::uint64_t right) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    std::mt19937_64 random(seed);
    plan(std::make_unique<Schedule>(seed, 0.05 + 0.1 * static_cast<double>(random() % 8)));
    testing::Remote remote(options_);
    const auto begin = std::chrono::steady_clock::now();
    const auto digest = digest_of(remote, urls_);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s);
    if (digest) {
      EXPECT_EQ(*digest, right);
    } else {
      const Error& error = digest.error();
      EXPECT_TRUE(error.offset) << error.describe();
      EXPECT_THAT(error.describe(), ::testing::HasSubstr("127.0.0.1"));
      EXPECT_THAT(error.message, ::testing::HasSubstr("attempt"));
    }
    plan(nullptr);
    // Connections' buffers are held as long as the client lives; ranges are not.
    const RemoteShape shape;
    EXPECT_LE(remote.ledger.snapshot().total.peak, shape.total_bytes());
    EXPECT_EQ(remote.ledger.snapshot().total.now, shape.connections * shape.connection_bytes);
    return static_cast<bool>(digest);
  }

 private:
  /// What is answered from now on; the server may still be at a request of before.
  void plan(std::unique_ptr<Schedule> schedule) {
    const std::lock_guard lock(mutex_);
    schedule_ = std::move(schedule);
  }

  FaultReply reply(const SeenRequest& request) {
    const auto& content = contents_[static_cast<std::size_t>(request.target.at(1) - '0')];
    FaultReply reply =
        testing::range_reply(request, content, "\"" + request.target.substr(1, 1) + "\"");
    const std::lock_guard lock(mutex_);
    return schedule_ ? schedule_->spoil(request, std::move(reply), content) : reply;
  }

  const std::vector<std::string>& contents_;
  std::vector<std::string> urls_;
  InputOptions options_ = testing::quick_options();
  std::mutex mutex_;
  std::unique_ptr<Schedule> schedule_;
  FaultServer server_;  // last: it calls
};

class FaultSchedules : public ::testing::TestWithParam<FaultServer::Kind> {};

TEST_P(FaultSchedules, GiveTheSameBytesOrAFailureThatSaysWhere) {
  const std::vector<std::string> contents = make_contents();
  const std::uint64_t seed = testing::test_seed();
  const std::uint64_t count = testing::rounds(250);
  const auto right = Trial(contents, GetParam()).right();
  ASSERT_TRUE(right);
  const std::size_t open_files = count_of("/proc/self/fd");
  const std::size_t tasks = count_of("/proc/self/task");
  std::atomic<std::uint64_t> next = 0, failures = 0;
  {
    // A schedule is mostly waiting: many at a time.
    std::vector<std::jthread> threads;
    for (int i = 0; i < 16; ++i) {
      threads.emplace_back([&] {
        Trial trial(contents, GetParam());
        for (std::uint64_t round = next++; round < count; round = next++) {
          if (!trial.run(seed + round, *right)) ++failures;
        }
      });
    }
  }
  // The server's ends of closed connections go a moment later than ours.
  for (int i = 0; i < 500 && count_of("/proc/self/fd") > open_files; ++i) usleep(10'000);
  EXPECT_LE(count_of("/proc/self/fd"), open_files);
  for (int i = 0; i < 500 && count_of("/proc/self/task") > tasks; ++i) usleep(10'000);
  EXPECT_LE(count_of("/proc/self/task"), tasks);
  // Most schedules must be survived, or the test shows nothing.
  EXPECT_LT(failures, count / 2 + 1) << "of " << count;
  std::printf("%llu schedules, %llu failed\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(failures.load()));
}
INSTANTIATE_TEST_SUITE_P(Plain, FaultSchedules, ::testing::Values(FaultServer::Kind::kPlain));
INSTANTIATE_TEST_SUITE_P(Tls, FaultSchedules, ::testing::Values(FaultServer::Kind::kTls));

}  // namespace
}  // namespace shardreel
