// Indexes beside shards over the network: the same clips for fewer bytes, and never a reason to
// fail.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <mutex>

#include "loader/read/open_index.h"
#include "shardreel/shard_index.h"
#include "shardreel/shard_writer.h"
#include "tests/loader/pipeline/outcome.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/fault_server.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"

namespace shardreel {
namespace {

namespace fs = std::filesystem;
using testing::expect_same;
using testing::FaultReply;
using testing::FaultServer;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::read_file;
using testing::run;
using testing::ScratchDir;
using testing::SeenRequest;

constexpr int kShards = 2;
constexpr int kVideos = 8;  // of each shard

bool is_index(const SeenRequest& request) {
  return request.target.find(".sridx") != std::string::npos;
}

/// A server of objects, which a test may change between two runs.
class Site {
 public:
  using Spoil = std::function<void(FaultReply&)>;  // an answer about an index

  explicit Site(std::map<std::string, std::string> objects)
      : objects_(std::move(objects)),
        server_([this](const SeenRequest& request) { return answer(request); }) {}

  void put(const std::string& name, std::string content) {
    const std::lock_guard lock(mutex_);
    objects_[name] = std::move(content);
  }
  void take_away(const std::string& name) {
    const std::lock_guard lock(mutex_);
    objects_.erase(name);
  }
  void spoil(Spoil how) {
    const std::lock_guard lock(mutex_);
    spoil_ = std::move(how);
  }
  [[nodiscard]] std::string url(const std::string& name) const {
    return server_.url(fmt::format("/{}", name));
  }
  [[nodiscard]] const FaultServer& server() const { return server_; }

  /// What was asked about indexes so far.
  [[nodiscard]] std::vector<std::string> asked() const {
    std::vector<std::string> targets;
    for (const SeenRequest& request : server_.requests()) {
      if (is_index(request)) targets.push_back(request.target);
    }
    return targets;
  }

 private:
  FaultReply answer(const SeenRequest& request) {
    const std::lock_guard lock(mutex_);
    const auto found = objects_.find(request.target.substr(1, request.target.find('?') - 1));
    FaultReply reply{.status = 404, .body = "no such object"};
    if (found != objects_.end())
      reply = testing::range_reply(request, found->second,
                                   fmt::format("\"{}\"", std::hash<std::string>()(found->second)));
    if (is_index(request) && spoil_) spoil_(reply);
    return reply;
  }

  std::mutex mutex_;
  std::map<std::string, std::string> objects_;
  Spoil spoil_;
  FaultServer server_;  // last: it calls `answer`
};

class RemoteIndexTest : public ::testing::Test {
 protected:
  /// Samples of a video and much else, so that leaving some out can be seen.
  static void SetUpTestSuite() {
    dir_ = new ScratchDir();
    names_ = new std::vector<std::string>();
    auto writer = ShardWriter::create(
                      {.directory = dir_->path().string(), .prefix = "s-", .max_samples = kVideos})
                      .value();
    for (int i = 0; i < kShards * kVideos; ++i) {
      const std::vector<FieldToWrite> fields{
          {"mp4", testing::file_content(
                      testing::numbered_clip(i, 20 + i, "-c:v libx264 -preset ultrafast -g 12"))},
          {"cls", testing::content_of(fmt::format("{}", i))},
          {"bin", testing::content_of(std::string(200'000, static_cast<char>('a' + i)))}};
      writer.write(fmt::format("v{:03}", i), fields).value();
    }
    for (const auto& shard : writer.finish().value())
      names_->push_back(fs::path(shard.path).filename());
    ASSERT_EQ(names_->size(), std::size_t{kShards});
    std::vector<std::string> paths;
    for (const std::string& name : *names_) paths.push_back(*dir_ / name);
    testing::index_shards(paths, "");
  }
  static void TearDownTestSuite() {
    delete names_;
    delete dir_;
  }

  RemoteIndexTest() : site_(shards()) {}

  static std::string index_of(const std::string& name) { return name + ".sridx"; }
  static std::map<std::string, std::string> shards() {
    std::map<std::string, std::string> objects;
    for (const std::string& name : *names_) objects[name] = read_file(*dir_ / name);
    return objects;
  }
  void put_indexes() {
    for (const std::string& name : *names_)
      site_.put(index_of(name), read_file(*dir_ / index_of(name)));
  }

  /// One sample of each shard is wanted.
  [[nodiscard]] LoaderOptions few() const {
    LoaderOptions options = testing::small_options({});
    for (const std::string& name : *names_) options.input.urls.push_back(site_.url(name));
    options.input.filter = {"key=v0*[13]"};  // v001, v003, v011, v013
    options.input.retries = 1;
    return options;
  }

  /// The bytes that a run took, beside what it gave.
  std::pair<Outcome, std::uint64_t> measured(const LoaderOptions& options) {
    const std::uint64_t before = site_.server().body_bytes();
    Outcome outcome = run(options);
    return {std::move(outcome), site_.server().body_bytes() - before};
  }

  static ScratchDir* dir_;
  static std::vector<std::string>* names_;
  Site site_;
};
ScratchDir* RemoteIndexTest::dir_ = nullptr;
std::vector<std::string>* RemoteIndexTest::names_ = nullptr;

TEST_F(RemoteIndexTest, TheSameClipsForFewerBytes) {
  struct Case {
    const char* name;
    void (*change)(LoaderOptions&);
  };
  const Case cases[] = {
      {"key", [](LoaderOptions&) {}},
      {"key and content", [](LoaderOptions& o) { o.input.filter.emplace_back("cls=3"); }},
      {"two epochs", [](LoaderOptions& o) { o.batch.epochs = 2; }},
      {"rank of many",
       [](LoaderOptions& o) {
         o.input.filter.clear();
         o.batch.world_size = 5;
         o.batch.rank = 3;
         o.batch.ranks = RankMode::kExact;
       }},
      {"compat", [](LoaderOptions& o) { o.input.integrity = Integrity::kCompat; }},
      {"packets", [](LoaderOptions& o) { o.resource.shuffle_domain = ShuffleDomain::kPackets; }},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    LoaderOptions options = few();
    c.change(options);
    const auto [plain, all_bytes] = measured(options);
    put_indexes();
    const auto [indexed, few_bytes] = measured(options);
    for (const std::string& name : *names_) site_.take_away(index_of(name));
    expect_same(plain, indexed);
    EXPECT_FALSE(plain.ids.empty());
    EXPECT_THAT(indexed.warnings, ::testing::IsEmpty());
    EXPECT_LT(few_bytes * 3, all_bytes * 2);
  }
}

TEST_F(RemoteIndexTest, ASignedUrlAsksWithItsQuery) {
  put_indexes();
  LoaderOptions options = few();
  options.input.urls = {site_.url((*names_)[0]) + "?token=secret"};
  site_.spoil([](FaultReply& reply) { reply = {.status = 400, .body = "bad"}; });
  const Outcome outcome = run(options);
  EXPECT_THAT(site_.asked(),
              ::testing::ElementsAre(fmt::format("/{}?token=secret", index_of((*names_)[0]))));
  ASSERT_EQ(outcome.warnings.size(), 1u);
  EXPECT_THAT(outcome.warnings[0], HasSubstr(index_of((*names_)[0])));
  EXPECT_THAT(outcome.warnings[0], ::testing::Not(HasSubstr("secret")));
}

TEST(RemoteIndexUrl, IsBesideTheObject) {
  EXPECT_EQ(remote_index_url("http://h/a.tar"), "http://h/a.tar.sridx");
  EXPECT_EQ(remote_index_url("HTTPS://h/a.tar?x=1&y=2"), "HTTPS://h/a.tar.sridx?x=1&y=2");
  EXPECT_EQ(remote_index_url("https://h/a.tar#part?"), "https://h/a.tar.sridx#part?");
  EXPECT_EQ(remote_index_url("s3://b/odd?#name.tar"), "s3://b/odd?#name.tar.sridx");
  EXPECT_EQ(remote_index_url("gs://b/k.tar"), "gs://b/k.tar.sridx");
  EXPECT_EQ(remote_index_url("hf://datasets/o/n@main/a.tar"), "hf://datasets/o/n@main/a.tar.sridx");
}

TEST_F(RemoteIndexTest, NobodyAsksWhereItIsOfNoUse) {
  put_indexes();
  ScratchDir dir;
  LoaderOptions options = few();
  options.input.filter.clear();
  EXPECT_FALSE(run(options).ids.empty());  // all is wanted
  options.input.filter = {"cls=3"};        // only reading tells
  EXPECT_FALSE(run(options).ids.empty());
  options = few();
  options.input.index_dir = dir / "indexes";  // they are there, or nowhere
  EXPECT_FALSE(run(options).ids.empty());
  options = few();
  options.input.cache_dir = dir / "cache";  // the whole shard comes here first
  fs::create_directory(dir / "cache");
  EXPECT_FALSE(run(options).ids.empty());
  EXPECT_THAT(site_.asked(), ::testing::IsEmpty());
}

TEST_F(RemoteIndexTest, WhatIsAbsentIsAskedForOnceAShard) {
  for (const int status : {403, 404, 410}) {
    SCOPED_TRACE(status);
    site_.spoil([=](FaultReply& reply) { reply = {.status = status, .body = "none"}; });
    const std::size_t before = site_.asked().size();
    LoaderOptions options = few();
    options.batch.epochs = 3;
    const Outcome outcome = run(options);
    EXPECT_EQ(site_.asked().size() - before, std::size_t{kShards});
    EXPECT_THAT(outcome.warnings, ::testing::IsEmpty());
    EXPECT_EQ(outcome.error, "");
    EXPECT_EQ(outcome.batches.size(), 3u);
  }
}

TEST_F(RemoteIndexTest, ABadOneIsWarnedOfOnceAndNotUsed) {
  LoaderOptions options = few();
  options.batch.epochs = 2;
  options.input.stall_timeout = 0.3;
  const Outcome plain = run(options);
  const std::string& name = (*names_)[0];
  const std::string good = read_file(*dir_ / index_of(name));
  const auto expect_ignored = [&](const char* what, std::size_t most_requests) {
    SCOPED_TRACE(what);
    const std::size_t before = site_.asked().size();
    const Outcome ignored = run(options);
    expect_same(plain, ignored);
    // One request more: the other shard, which has none.
    EXPECT_LE(site_.asked().size() - before, most_requests + 1);
    ASSERT_EQ(ignored.warnings.size(), 1u);
    EXPECT_THAT(ignored.warnings[0], HasSubstr(site_.url(name) + ".sridx"));
    EXPECT_THAT(ignored.warnings[0], HasSubstr(what));
  };
  std::string bad = good;
  bad[bad.size() / 4] = static_cast<char>(bad[bad.size() / 4] ^ 1);
  site_.put(index_of(name), bad);
  expect_ignored("checksum", 1);
  site_.put(index_of(name), good.substr(0, 50));
  expect_ignored("damaged", 1);
  site_.put(index_of(name), "");
  expect_ignored("damaged", 1);
  site_.put(index_of(name), "<html>this server answers everything</html>");
  expect_ignored("damaged", 1);
  site_.put(index_of(name), read_file(*dir_ / index_of((*names_)[1])));  // of another shard
  expect_ignored("as it is now", 1);
  site_.put(index_of(name), good);
  const auto only_here = [&](std::function<void(FaultReply&)> how) {
    site_.spoil([how = std::move(how)](FaultReply& reply) {
      if (reply.status != 404) how(reply);
    });
  };
  only_here([](FaultReply& reply) {
    reply = {.status = 503, .headers = {{"Retry-After", "0"}}, .body = "busy today"};
  });
  expect_ignored("503", 2);
  only_here([](FaultReply& reply) { reply.stall_after = 0; });
  expect_ignored("no byte", 2);
  only_here([](FaultReply& reply) {
    reply.body.resize(65536);  // all that the first request asks for
    reply.headers.back().second = fmt::format("bytes 0-{}/5000000000", reply.body.size() - 1);
  });
  expect_ignored("5000000000 bytes, and at most", 1);
  site_.spoil({});
  EXPECT_THAT(run(options).warnings, ::testing::IsEmpty());
}

TEST_F(RemoteIndexTest, OneOfMoreThanAMebibyteIsReadWhereItIsNeeded) {
  ScratchDir dir;
  auto writer = ShardWriter::create({.directory = dir.path().string(), .prefix = "large-"}).value();
  const std::string padding(700, 'k');
  for (int i = 0; i < 2000; ++i) {
    std::vector<FieldToWrite> fields{{"txt", testing::content_of("x")}};
    const bool video = i % 500 == 250;
    if (video)
      fields.push_back({"mp4", testing::file_content(testing::numbered_clip(
                                   i / 500, 30, "-c:v libx264 -preset ultrafast -g 12"))});
    writer.write(fmt::format("{}{:04}{}", video ? 'v' : 'x', i, padding), fields).value();
  }
  const std::string path = writer.finish().value().front().path;
  testing::index_shards({path}, "");
  const std::string index = read_file(path + ".sridx");
  ASSERT_GT(index.size(), std::size_t{1} << 20);
  site_.put("large.tar", read_file(path));
  LoaderOptions options = few();
  options.input.urls = {site_.url("large.tar")};
  options.input.filter = {"key=v*"};
  options.input.max_skip_ratio = 1;  // a sample without a video is a failure
  options.resource.memory_bytes = "512MiB";
  const auto [plain, all_bytes] = measured(options);
  site_.put("large.tar.sridx", index);
  const auto [indexed, few_bytes] = measured(options);
  expect_same(plain, indexed);
  EXPECT_EQ(plain.ids.size(), 4u * 3);  // of 30 frames, 8 at a time
  EXPECT_EQ(plain.error, "");
  EXPECT_THAT(indexed.warnings, ::testing::IsEmpty());
  EXPECT_LT(few_bytes, all_bytes);
}

TEST_F(RemoteIndexTest, StopEndsTheWaitWithinASecond) {
  using Clock = std::chrono::steady_clock;
  put_indexes();
  std::promise<void> hangs;
  std::once_flag once;
  site_.spoil([&](FaultReply& reply) {
    reply.stall_after = 0;
    std::call_once(once, [&] { hangs.set_value(); });
  });
  LoaderOptions options = few();
  options.input.stall_timeout = 60;
  Loader loader = Loader::open(options);
  ASSERT_EQ(hangs.get_future().wait_for(std::chrono::seconds(30)), std::future_status::ready);
  const auto begin = Clock::now();
  loader.stop();
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(testing::sanitized() ? 5 : 1));
  testing::expect_conserved(loader.metrics());
}

}  // namespace
}  // namespace shardreel
