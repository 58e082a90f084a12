// Uploads: every object whole and of the right bytes, or none at all, whatever the server does.

#include "loader/read/http/s3_upload.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <map>
#include <random>

#include "tests/loader/read/http/remote_fixture.h"
#include "tests/support/fault_server.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using testing::FaultReply;
using testing::FaultServer;
using ::testing::HasSubstr;
using testing::pattern;
using testing::SeenRequest;

/// A bucket that knows multipart uploads.
class Bucket {
 public:
  FaultReply answer(const SeenRequest& request) {
    const std::size_t mark = request.target.find('?');
    const std::string key = request.target.substr(0, mark);
    const std::string query = mark == std::string::npos ? "" : request.target.substr(mark + 1);
    EXPECT_NE(request.header("authorization"), "");
    if (request.method == "HEAD") {
      const auto found = objects.find(key);
      if (found == objects.end()) return {.status = 404};
      return {.headers = {{"x-amz-meta-sha256", sums[key]}}};
    }
    if (request.method == "POST" && query == "uploads") {
      const std::string id = fmt::format("id+/{}", ++count);
      uploads[id] = {key, request.header("x-amz-meta-sha256"), {}};
      return {.body = "<R><UploadId>" + id + "</UploadId></R>"};
    }
    const std::string id = fmt::format("id+/{}", query.substr(query.rfind('F') + 1));
    EXPECT_THAT(query, HasSubstr("uploadId=id%2B%2F"));
    const auto upload = uploads.find(id);
    if (upload == uploads.end()) {
      return {.status = 404, .body = "<Error><Code>NoSuchUpload</Code></Error>"};
    }
    if (request.method == "DELETE") {
      uploads.erase(upload);
      return {.status = 204};
    }
    if (request.method == "PUT") {
      const int number = std::stoi(query.substr(query.find("partNumber=") + 11));
      upload->second.parts[number] = request.body;
      return {.headers = {{"ETag", fmt::format("\"{}-{}\"", id, number)}}};
    }
    std::string body;
    for (const auto& [number, part] : upload->second.parts) {
      const std::string tag =
          fmt::format("<PartNumber>{0}</PartNumber><ETag>\"{1}-{0}\"</ETag>", number, id);
      EXPECT_THAT(request.body, HasSubstr(tag));
      body += part;
    }
    objects[upload->second.key] = body;
    sums[upload->second.key] = upload->second.sum;
    uploads.erase(upload);
    return {.body = "<Done/>"};
  }

  struct Begun {
    std::string key, sum;
    std::map<int, std::string> parts;
  };
  std::map<std::string, std::string> objects, sums;
  std::map<std::string, Begun> uploads;
  int count = 0;
};

class S3UploadTest : public ::testing::Test {
 protected:
  S3UploadTest() {
    const char* names[] = {"a.tar", "b c+.tar", "dataset.json"};
    const std::size_t sizes[] = {20'000'000, 8U << 20, 0};
    for (int i = 0; i < 3; ++i) {
      contents_.push_back(pattern(sizes[i]));
      std::ofstream(dir_ / names[i], std::ios::binary) << contents_.back();
      files_.push_back({dir_ / names[i], fmt::format("s3://bucket/set/{}", names[i])});
    }
    setenv("AWS_ACCESS_KEY_ID", "key", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hidden", 1);
    options_ = testing::quick_options();
    options_.request_timeout = 20;
  }
  ~S3UploadTest() override {
    unsetenv("AWS_ACCESS_KEY_ID");
    unsetenv("AWS_SECRET_ACCESS_KEY");
  }

  Result<void> put(const FaultServer& server, bool overwrite = false,
                   const std::stop_token& stop = {}) {
    InputOptions options = options_;
    options.s3_endpoint = server.url("");
    return S3Uploader(options).put_all(files_, overwrite, stop);
  }
  void expect_all(const Bucket& bucket) {
    ASSERT_EQ(bucket.objects.size(), 3U);
    EXPECT_TRUE(bucket.objects.at("/bucket/set/a.tar") == contents_[0]);
    EXPECT_TRUE(bucket.objects.at("/bucket/set/b%20c%2B.tar") == contents_[1]);
    EXPECT_EQ(bucket.objects.at("/bucket/set/dataset.json"), "");
    EXPECT_TRUE(bucket.uploads.empty());
  }

  testing::ScratchDir dir_;
  std::vector<std::string> contents_;
  std::vector<FileToUpload> files_;
  InputOptions options_;
};

TEST_F(S3UploadTest, EveryObjectIsThereAndASecondTimeNothingIsSent) {
  Bucket bucket;
  const FaultServer server([&](const SeenRequest& request) { return bucket.answer(request); });
  const auto done = put(server);
  ASSERT_TRUE(done) << done.error().describe();
  expect_all(bucket);
  const std::size_t before = server.requests().size();
  ASSERT_TRUE(put(server));
  EXPECT_EQ(server.requests().size(), before + 3);  // HEAD only
}

TEST_F(S3UploadTest, WhatIsThereIsReplacedOnlyWhenAsked) {
  Bucket bucket;
  bucket.objects["/bucket/set/b%20c%2B.tar"] = "other";
  const FaultServer server([&](const SeenRequest& request) { return bucket.answer(request); });
  const auto refused = put(server);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidOption);
  EXPECT_THAT(refused.error().message, HasSubstr("s3://bucket/set/b c+.tar is there already"));
  EXPECT_EQ(bucket.objects.size(), 1U);
  EXPECT_EQ(bucket.count, 0);
  ASSERT_TRUE(put(server, true));
  expect_all(bucket);
}

TEST_F(S3UploadTest, FaultsOnTheWayEndInAllOrNothing) {
  const std::uint64_t seed = testing::test_seed();
  std::atomic<std::uint64_t> failures = 0;
  const std::uint64_t count = testing::rounds(100);
  testing::run_together(count, 16, [&](std::uint64_t round) {
    std::mt19937_64 random(seed + round);
    const double rate = 0.1 * static_cast<double>(round % 7);
    // From some request on nothing works but taking back: a failure that stays.
    const std::uint64_t dead_from = round % 3 == 0 ? random() % 10 : 1000;
    std::uint64_t number = 0;
    Bucket bucket;
    const FaultServer server([&](const SeenRequest& request) -> FaultReply {
      if (request.method == "DELETE") return bucket.answer(request);
      if (number++ >= dead_from) return {.status = 500};
      if (std::uniform_real_distribution<>(0, 1)(random) >= rate) return bucket.answer(request);
      switch (random() % 5) {
        case 0: return {.status = 503};
        case 1: return {.no_answer = true};
        case 2: {  // done, but the answer is lost
          FaultReply reply = bucket.answer(request);
          reply.reset_after = 0;
          reply.no_answer = true;
          return reply;
        }
        case 3:
          if (request.method == "HEAD") return {.status = 500};
          return {.body = "<Error><Code>InternalError</Code></Error>"};
        default: return {.status = 429, .headers = {{"Retry-After", "0"}}};
      }
    });
    const auto done = put(server);
    if (done) {
      EXPECT_EQ(bucket.objects.size(), 3U) << "seed " << seed + round;
      if (bucket.objects.size() != 3U) return;
      EXPECT_TRUE(bucket.objects.at("/bucket/set/a.tar") == contents_[0])
          << "seed " << seed + round;
      EXPECT_TRUE(bucket.objects.at("/bucket/set/b%20c%2B.tar") == contents_[1]);
    } else {
      ++failures;
      EXPECT_THAT(done.error().message, HasSubstr("s3://bucket/set/"));
      // The completions may have begun, in order; what is there is whole.
      for (const auto& [key, body] : bucket.objects) {
        EXPECT_TRUE(body == contents_[key.ends_with("a.tar") ? 0 : key.ends_with("json") ? 2 : 1]);
      }
      if (bucket.objects.contains("/bucket/set/dataset.json")) {
        EXPECT_EQ(bucket.objects.size(), 3U) << "seed " << seed + round;
      }
    }
  });
  EXPECT_LT(failures, count) << "of " << count;
}

TEST_F(S3UploadTest, StoppedMeansNothingAndSoon) {
  Bucket bucket;
  std::promise<void> reached;
  const FaultServer server([&](const SeenRequest& request) {
    FaultReply reply = bucket.answer(request);
    if (request.method == "PUT" && request.target.find("partNumber=2") != std::string::npos) {
      reply.no_answer = false;
      reply.body = "x";
      reply.stall_after = 0;
      reached.set_value();
    }
    return reply;
  });
  std::stop_source stop;
  auto done = std::async(std::launch::async, [&] { return put(server, false, stop.get_token()); });
  reached.get_future().wait();
  stop.request_stop();
  ASSERT_EQ(done.wait_for(std::chrono::seconds(5)), std::future_status::ready);
  EXPECT_FALSE(done.get());
  EXPECT_TRUE(bucket.objects.empty());
  EXPECT_TRUE(bucket.uploads.empty());  // taken back
}

TEST_F(S3UploadTest, ARefusalSaysWhyAndNotTheSecret) {
  const FaultServer server([&](const SeenRequest& request) -> FaultReply {
    if (request.method == "HEAD") return {.status = 404};
    return {.status = 403,
            .body = "<Error><Code>AccessDenied</Code><Message>not you</Message></Error>"};
  });
  const auto done = put(server);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kNotPermitted);
  EXPECT_THAT(done.error().message, HasSubstr("beginning s3://bucket/set/a.tar: status 403: "
                                              "AccessDenied: not you"));
  EXPECT_THAT(done.error().message, ::testing::Not(HasSubstr("hidden")));
}

}  // namespace
}  // namespace shardreel
