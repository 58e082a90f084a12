// The cache: right bytes or none, bounded, shared, nothing left behind.

#include "loader/read/http/shard_cache.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "tests/loader/read/http/remote_fixture.h"
#include "tests/support/fault_server.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

namespace fs = std::filesystem;
using testing::FaultReply;
using testing::FaultServer;
using testing::pattern;
using testing::Remote;
using testing::SeenRequest;

std::vector<std::string> files_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(folder)) names.push_back(file.path().string());
  return names;
}

InputOptions cached(const testing::ScratchDir& dir) {
  InputOptions options = testing::quick_options();
  options.cache_dir = dir / "cache";
  return options;
}

Metrics metrics_of(const Remote& remote) {
  Metrics metrics;
  remote.sources->write_to(metrics);
  return metrics;
}

FaultServer::Handler two_objects(const std::string* first, const std::string* second,
                                 const std::string* etag) {
  return [=](const SeenRequest& request) {
    return testing::range_reply(request, request.target == "/1" ? *first : *second, *etag);
  };
}

TEST(ShardCache, ASecondEpochNeedsNoNetwork) {
  const testing::ScratchDir dir;
  const std::string one = pattern(700'000);
  const std::string two = pattern(100);
  const std::string etag = "\"e\"";
  const FaultServer server(two_objects(&one, &two, &etag));
  {
    Remote remote(cached(dir));
    EXPECT_TRUE(remote.read_all(server.url("/1")).value() == one);
    EXPECT_TRUE(remote.read_all(server.url("/2")).value() == two);
    EXPECT_EQ(server.body_bytes(), one.size() + two.size());
    EXPECT_TRUE(remote.read_all(server.url("/1")).value() == one);
    EXPECT_EQ(server.body_bytes(), one.size() + two.size() + 65536);  // the version was asked for
    EXPECT_EQ(metrics_of(remote).cache_hits, 1U);
    EXPECT_EQ(metrics_of(remote).cache_misses, 2U);
    EXPECT_EQ(metrics_of(remote).cache_stored, one.size() + two.size());
  }
  InputOptions options = cached(dir);
  options.cache_only = true;
  Remote remote(options);
  const auto before = server.requests().size();
  EXPECT_TRUE(remote.read_all(server.url("/1")).value() == one);
  EXPECT_TRUE(remote.read_all(server.url("/2")).value() == two);
  EXPECT_EQ(remote.read_all(server.url("/3")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(server.requests().size(), before);
  EXPECT_EQ(files_in(dir / "cache").size(), 2U);
}

TEST(ShardCache, OtherVersionsAndDamagedCopiesAreFetchedAgain) {
  const testing::ScratchDir dir;
  std::string content = pattern(300'000);
  std::string etag = "\"1\"";
  const FaultServer server(two_objects(&content, &content, &etag));
  Remote remote(cached(dir));
  EXPECT_TRUE(remote.read_all(server.url("/1")).value() == content);
  content[1000] = static_cast<char>(content[1000] + 1);
  etag = "\"2\"";
  EXPECT_TRUE(remote.read_all(server.url("/1")).value() == content);
  // One flipped byte anywhere, or a cut, and it is no copy any more.
  const std::string path = files_in(dir / "cache").at(0);
  const auto size = fs::file_size(path);
  for (const std::uint64_t at : {std::uint64_t{0}, std::uint64_t{299'999}, size - 1, size - 30}) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(byte ^ 1));
    file.close();
    const auto misses = metrics_of(remote).cache_misses;
    EXPECT_TRUE(remote.read_all(server.url("/1")).value() == content) << at;
    EXPECT_EQ(metrics_of(remote).cache_misses, misses + 1) << at;
  }
  fs::resize_file(path, size - 7);
  EXPECT_TRUE(remote.read_all(server.url("/1")).value() == content);
}

TEST(ShardCache, TheLeastRecentlyUsedGoesFirstAndTheBoundHolds) {
  const testing::ScratchDir dir;
  const std::string content = pattern(100'000);
  const FaultServer server(
      [&](const SeenRequest& request) { return testing::range_reply(request, content, "\"e\""); });
  InputOptions options = cached(dir);
  options.cache_bytes = 350'000;
  Remote remote(options);
  const auto read = [&](int number) {
    EXPECT_TRUE(remote.read_all(server.url(fmt::format("/{}", number))).value() == content);
    std::uint64_t total = 0;
    for (const std::string& path : files_in(dir / "cache")) total += fs::file_size(path);
    EXPECT_LE(total, options.cache_bytes);
  };
  for (const int number : {1, 2, 3, 1, 4}) read(number);  // 2 goes
  const auto hits = metrics_of(remote).cache_hits;
  for (const int number : {1, 3, 4}) read(number);
  EXPECT_EQ(metrics_of(remote).cache_hits, hits + 3);
  const auto misses = metrics_of(remote).cache_misses;
  read(2);
  EXPECT_EQ(metrics_of(remote).cache_misses, misses + 1);
}

TEST(ShardCache, WhatDoesNotFitIsStreamed) {
  const testing::ScratchDir dir;
  const std::string content = pattern(700'000);
  const std::string etag = "\"e\"";
  const FaultServer server(two_objects(&content, &content, &etag));
  InputOptions options = cached(dir);
  options.cache_bytes = 1000;
  Remote remote(options);
  EXPECT_TRUE(remote.read_all(server.url("/1")).value() == content);
  EXPECT_TRUE(files_in(dir / "cache").empty());
}

TEST(ShardCache, AnothersDownloadCountsAgainstTheBound) {
  const testing::ScratchDir dir;
  const std::string content = pattern(100'000);
  const ObjectIdentity version{content.size(), "\"e\"", ""};
  const auto first = ShardCache::open(dir / "cache", 150'000).value();
  const auto second = ShardCache::open(dir / "cache", 150'000).value();
  /// Half-way through, calls `then` once.
  struct Bytes final : ByteStream {
    Result<std::size_t> read(std::span<std::byte> into) override {
      if (at > 0 && then) std::exchange(then, nullptr)();
      const std::size_t count = std::min({into.size(), content->size() - at, content->size() / 2});
      std::memcpy(into.data(), content->data() + at, count);
      at += count;
      return count;
    }
    const std::string* content = nullptr;
    std::size_t at = 0;
    std::function<void()> then;
  };
  bool refused = false;
  Bytes one;
  one.content = &content;
  one.then = [&] {
    Bytes two;
    two.content = &content;
    auto stored = second->store("two", version, two, {});
    const auto* good = std::get_if<ShardCache::Stored>(&stored);
    refused = good != nullptr && !good->stream && two.at == 0;
    std::uint64_t total = 0;
    for (const std::string& path : files_in(dir / "cache")) total += fs::file_size(path);
    EXPECT_LE(total, 150'000U);
  };
  auto stored = first->store("one", version, one, {});
  EXPECT_TRUE(refused);
  auto* good = std::get_if<ShardCache::Stored>(&stored);
  ASSERT_TRUE(good != nullptr && good->stream);
  EXPECT_TRUE(Remote::read_all(*good->stream).value() == content);
  EXPECT_EQ(files_in(dir / "cache").size(), 1U);
}

TEST(ShardCache, AFullDiskStreamsWithOneWarning) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting a small file system needs root";
  const testing::ScratchDir dir;
  fs::create_directories(dir / "cache");
  try {
    testing::run_command("mount -t tmpfs -o size=200k tmpfs " + dir / "cache" + " 2>&1");
  } catch (const std::exception& failed) {
    GTEST_SKIP() << "mounting a small file system: " << failed.what();
  }
  const std::string content = pattern(700'000);
  const std::string etag = "\"e\"";
  const FaultServer server(two_objects(&content, &content, &etag));
  {
    Remote remote(cached(dir));
    std::vector<std::string> warnings;
    remote.sources->on_warning([&](std::string_view text) { warnings.emplace_back(text); });
    EXPECT_TRUE(remote.read_all(server.url("/1")).value() == content);
    EXPECT_TRUE(remote.read_all(server.url("/2")).value() == content);
    ASSERT_EQ(warnings.size(), 1U);
    EXPECT_THAT(warnings[0], ::testing::HasSubstr("No space left"));
  }
  EXPECT_TRUE(files_in(dir / "cache").empty());
  testing::run_command("umount " + dir / "cache");
}

TEST(ShardCache, ProcessesThatAreKilledLeaveNothingWrong) {
  const testing::ScratchDir dir;
  const std::string content = pattern(3'000'000);
  const std::uint64_t seed = testing::test_seed();
  std::mt19937_64 random(seed);
  ASSERT_TRUE(ShardCache::open(dir / "cache", 0));
  const ObjectIdentity version{content.size(), "\"e\"", ""};
  // Streams that give a little at a time, so that the kill comes anywhere.
  struct Slow final : ByteStream {
    explicit Slow(const std::string& bytes) : content(bytes) {}
    Result<std::size_t> read(std::span<std::byte> into) override {
      const std::size_t count = std::min({into.size(), content.size() - at, std::size_t{10'000}});
      std::memcpy(into.data(), content.data() + at, count);
      at += count;
      usleep(20);
      return count;
    }
    const std::string& content;
    std::size_t at = 0;
  };
  const std::stop_source stop;
  const auto work = [&] {
    auto cache = ShardCache::open(dir / "cache", 7'000'000);
    if (!cache) return 1;
    for (int i = 0; i < 3; ++i) {
      const std::string name = fmt::format("shard {}", i);
      auto found = (*cache)->find(name, &version, stop.get_token());
      if (!found) {
        Slow from(content);
        auto stored = (*cache)->store(name, version, from, stop.get_token());
        auto* good = std::get_if<ShardCache::Stored>(&stored);
        if (good == nullptr || !good->stream) return 2;
        found = std::move(good->stream);
      }
      if (Remote::read_all(**found).value() != content) return 3;
    }
    return 0;
  };
  const std::uint64_t count = testing::rounds(100);
  for (std::uint64_t round = 0; round < count; ++round) {
    std::vector<pid_t> children;
    for (int i = 0; i < 2; ++i) {
      const pid_t child = fork();
      if (child == 0) _exit(work());
      children.push_back(child);
    }
    usleep(static_cast<useconds_t>(random() % 30'000));
    kill(children[0], SIGKILL);
    for (const pid_t child : children) {
      int status = 0;
      waitpid(child, &status, 0);
      EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0)
          << "status " << status << ", seed " << seed << ", round " << round;
    }
  }
  EXPECT_EQ(work(), 0);  // and opening it cleans up
  for (const std::string& path : files_in(dir / "cache")) EXPECT_TRUE(path.ends_with(".shard"));
}

}  // namespace
}  // namespace shardreel
