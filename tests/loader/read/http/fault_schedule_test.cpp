// Random schedules of faults over a set of shards: the same samples as without faults, or a failure
// that names URL and byte. Never silent, never late.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <xxhash.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

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
    switch (std::uniform_int_distribution<>(0, 12)(random_)) {
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

class FaultSchedules : public ::testing::TestWithParam<FaultServer::Kind> {};

TEST_P(FaultSchedules, GiveTheSameBytesOrAFailureThatSaysWhere) {
  const std::vector<std::string> contents = make_contents();
  const std::uint64_t seed = testing::test_seed();
  std::unique_ptr<Schedule> schedule;
  FaultServer server(
      [&](const SeenRequest& request) {
        const auto& content = contents[static_cast<std::size_t>(request.target.at(1) - '0')];
        FaultReply reply =
            testing::range_reply(request, content, "\"" + request.target.substr(1, 1) + "\"");
        return schedule ? schedule->spoil(request, std::move(reply), content) : reply;
      },
      GetParam());
  std::vector<std::string> urls;
  for (int s = 0; s < kShards; ++s) urls.push_back(server.url(fmt::format("/{}.tar", s)));

  InputOptions options = testing::quick_options();
  options.ca_file = FaultServer::ca_file();
  options.stall_timeout = 0.2;
  options.retries = 6;
  std::optional<std::uint64_t> right;
  {
    testing::Remote remote(options);
    const auto digest = digest_of(remote, urls);
    ASSERT_TRUE(digest) << digest.error().describe();
    right = *digest;
  }
  int failures = 0;
  const std::size_t open_files = count_of("/proc/self/fd");
  const std::size_t tasks = count_of("/proc/self/task");
  const std::uint64_t count = testing::rounds(250);
  for (std::uint64_t round = 0; round < count; ++round) {
    std::mt19937_64 random(seed + round);
    schedule =
        std::make_unique<Schedule>(seed + round, 0.05 + 0.1 * static_cast<double>(random() % 8));
    testing::Remote remote(options);
    const auto begin = std::chrono::steady_clock::now();
    const auto digest = digest_of(remote, urls);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s);
    if (digest) {
      EXPECT_EQ(*digest, *right) << "seed " << seed + round;
    } else {
      ++failures;
      const Error& error = digest.error();
      EXPECT_TRUE(error.offset) << error.describe();
      EXPECT_THAT(error.describe(), ::testing::HasSubstr("127.0.0.1")) << "seed " << seed + round;
      EXPECT_THAT(error.message, ::testing::HasSubstr("attempt")) << "seed " << seed + round;
    }
    schedule.reset();
    // Connections' buffers are held as long as the client lives; ranges are not.
    const RemoteShape shape;
    EXPECT_LE(remote.ledger.snapshot().total.peak, shape.total_bytes());
    EXPECT_EQ(remote.ledger.snapshot().total.now, shape.connections * shape.connection_bytes);
  }
  // The server's ends of closed connections go a moment later than ours.
  for (int i = 0; i < 500 && count_of("/proc/self/fd") > open_files; ++i) usleep(10'000);
  EXPECT_LE(count_of("/proc/self/fd"), open_files);
  for (int i = 0; i < 500 && count_of("/proc/self/task") > tasks; ++i) usleep(10'000);
  EXPECT_LE(count_of("/proc/self/task"), tasks);
  // Most schedules must be survived, or the test shows nothing.
  EXPECT_LT(failures, static_cast<int>(count / 2 + 1)) << "of " << count;
  std::printf("%llu schedules, %d failed\n", static_cast<unsigned long long>(count), failures);
}
INSTANTIATE_TEST_SUITE_P(Plain, FaultSchedules, ::testing::Values(FaultServer::Kind::kPlain));
INSTANTIATE_TEST_SUITE_P(Tls, FaultSchedules, ::testing::Values(FaultServer::Kind::kTls));

}  // namespace
}  // namespace shardreel
