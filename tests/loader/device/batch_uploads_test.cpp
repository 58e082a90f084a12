// Lanes to several devices: what comes out, in which order, and that a slow one costs the others
// nothing.
#include "loader/device/batch_uploads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <deque>
#include <random>
#include <thread>

#include "tests/loader/device/device_cases.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using testing::DeviceCase;

constexpr std::uint64_t kBatchBytes = 20000;

class BatchUploadsTest : public ::testing::TestWithParam<DeviceCase> {
 protected:
  void SetUp() override {
    if (!GetParam().why_not.empty()) GTEST_SKIP() << "no CUDA here: " << GetParam().why_not;
  }
  void TearDown() override {
    if (GetParam().why_not.empty() && GetParam().check != nullptr) GetParam().check();
  }
};

/// The batch a lane makes as its number `index`.
void fill(std::byte* to, std::uint64_t lane, std::uint64_t index) {
  for (std::uint64_t i = 0; i < kBatchBytes; i += 8) {
    const std::uint64_t word = (lane << 48) ^ (index << 24) ^ i;
    std::memcpy(to + i, &word, sizeof word);
  }
}

/// A consumer with a stream of its own, which reads batches back and compares.
class Consumer {
 public:
  Consumer(Device& device, std::uint64_t lane)
      : lane_(lane),
        stream_(device.make_stream().value()),
        back_(device.allocate_pinned(kBatchBytes).value()),
        want_(kBatchBytes) {}

  /// Return whether the batch is what it should be; it goes back while the stream still reads it.
  bool takes(DeviceBatch batch, std::uint64_t index) {
    stream_->wait(batch.ready()).value();
    stream_->copy(back_->data(), batch.data(), kBatchBytes).value();
    batch.used_by(*stream_).value();
    { const DeviceBatch gone(std::move(batch)); }
    stream_->synchronize().value();
    fill(want_.data(), lane_, index);
    return std::memcmp(back_->data(), want_.data(), kBatchBytes) == 0;
  }

 private:
  const std::uint64_t lane_;
  std::shared_ptr<Stream> stream_;
  std::unique_ptr<PinnedBuffer> back_;
  std::vector<std::byte> want_;
};

Result<DeviceBatch> make_batch(BatchUploads& uploads, std::uint64_t lane, std::uint64_t index,
                               const std::stop_token& stop) {
  auto batch = uploads.take();
  while (!batch && !stop.stop_requested()) {
    std::this_thread::yield();
    batch = uploads.take();
  }
  Error stopped;
  stopped.code = ErrorCode::kStopped;
  if (!batch) return stopped;
  auto block = uploads.staging(stop);
  if (!block) return block.error();
  fill(block->data(), lane, index);
  if (auto done = uploads.upload(std::move(*block), kBatchBytes, *batch); !done)
    return done.error();
  return std::move(*batch);
}

TEST_P(BatchUploadsTest, EveryLaneGetsItsBatchesInOrder) {
  for (const std::size_t lanes : {1U, 2U, 4U, 8U}) {
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      threads.emplace_back([&, lane] {
        auto device = GetParam().open(static_cast<std::uint32_t>(lane));
        auto uploads = BatchUploads::make(device, kBatchBytes, 3).value();
        Consumer consumer(*device, lane);
        std::deque<DeviceBatch> prefetched;
        std::uint64_t next = 0, taken = 0;
        while (taken < 60) {
          while (prefetched.size() < 2) {
            prefetched.push_back(make_batch(*uploads, lane, next, {}).value());
            ++next;
          }
          DeviceBatch batch = std::move(prefetched.front());
          prefetched.pop_front();
          wrong += consumer.takes(std::move(batch), taken) ? 0 : 1;
          ++taken;
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0) << lanes << " lanes";
  }
}

TEST_P(BatchUploadsTest, ALaneThatDoesNotMoveCostsTheOthersNothing) {
  auto idle_device = GetParam().open(0);
  auto idle = BatchUploads::make(idle_device, kBatchBytes, 2).value();
  std::deque<DeviceBatch> held;
  for (std::uint64_t i = 0; i < 2; ++i) held.push_back(make_batch(*idle, 0, i, {}).value());
  std::stop_source stop;
  std::atomic<bool> stopped{false};
  std::thread stuck([&] {
    auto none = make_batch(*idle, 0, 2, stop.get_token());
    stopped = !none && none.error().code == ErrorCode::kStopped;
  });
  {
    auto device = GetParam().open(1);
    auto uploads = BatchUploads::make(device, kBatchBytes, 2).value();
    Consumer consumer(*device, 1);
    for (std::uint64_t i = 0; i < 100; ++i)
      ASSERT_TRUE(consumer.takes(make_batch(*uploads, 1, i, {}).value(), i));
  }
  EXPECT_FALSE(stopped);
  stop.request_stop();
  stuck.join();
  EXPECT_TRUE(stopped);
  Consumer consumer(*idle_device, 0);
  for (std::uint64_t i = 0; i < 2; ++i) {
    DeviceBatch batch = std::move(held.front());
    held.pop_front();
    EXPECT_TRUE(consumer.takes(std::move(batch), i)) << "what was held is still whole";
  }
}

TEST_P(BatchUploadsTest, TheNextBatchWaitsForTheLastUser) {
  if (GetParam().pause == nullptr) GTEST_SKIP() << "a real device cannot be made to wait";
  auto device = GetParam().open(0);
  auto uploads = BatchUploads::make(device, kBatchBytes, 1).value();
  auto user = device->make_stream().value();
  auto back = device->allocate_pinned(kBatchBytes).value();
  DeviceBatch first = make_batch(*uploads, 5, 0, {}).value();
  ASSERT_TRUE(first.ready().wait());
  GetParam().pause(*device, true);
  ASSERT_TRUE(user->copy(back->data(), first.data(), kBatchBytes));
  ASSERT_TRUE(first.used_by(*user));
  { const DeviceBatch gone(std::move(first)); }
  DeviceBatch second =
      make_batch(*uploads, 5, 1, {}).value();  // does not wait, and overwrites nothing
  GetParam().pause(*device, false);
  ASSERT_TRUE(second.ready().wait());
  ASSERT_TRUE(user->synchronize());
  std::vector<std::byte> want(kBatchBytes);
  fill(want.data(), 5, 0);
  EXPECT_EQ(std::memcmp(back->data(), want.data(), kBatchBytes), 0);
}

TEST_P(BatchUploadsTest, MemoryIsFreedBehindTheLastUser) {
  if (GetParam().pause == nullptr) GTEST_SKIP() << "a real device cannot be made to wait";
  for (const bool extra : {false, true}) {
    auto device = GetParam().open(0);
    auto uploads = BatchUploads::make(device, kBatchBytes, 1).value();
    auto user = device->make_stream().value();
    auto back = device->allocate_pinned(kBatchBytes).value();
    std::optional<DeviceBatch> batch =
        extra ? uploads->take_extra().value() : std::move(*uploads->take());
    auto block = uploads->staging({}).value();
    fill(block.data(), 6, 0);
    ASSERT_TRUE(uploads->upload(std::move(block), kBatchBytes, *batch));
    ASSERT_TRUE(batch->ready().wait());
    GetParam().pause(*device, true);
    ASSERT_TRUE(user->copy(back->data(), batch->data(), kBatchBytes));
    ASSERT_TRUE(batch->used_by(*user));
    batch.reset();
    std::thread end([&] { uploads.reset(); });  // its stream ends with what is in line
    GetParam().pause(*device, false);
    end.join();
    ASSERT_TRUE(user->synchronize());
    std::vector<std::byte> want(kBatchBytes);
    fill(want.data(), 6, 0);
    EXPECT_EQ(std::memcmp(back->data(), want.data(), kBatchBytes), 0);
  }
}

TEST_P(BatchUploadsTest, MoreThanWasPlannedIsFreedWithItsBatch) {
  auto device = GetParam().open(0);
  auto uploads = BatchUploads::make(device, kBatchBytes, 1).value();
  const auto planned = uploads->take();
  ASSERT_TRUE(planned);
  EXPECT_TRUE(uploads->all_in_use());
  EXPECT_FALSE(uploads->take());
  const std::uint64_t before = device->allocated_bytes();
  {
    const auto extra = uploads->take_extra();
    ASSERT_TRUE(extra);
    EXPECT_NE(extra->data(), planned->data());
    EXPECT_GE(device->allocated_bytes(), before + kBatchBytes);
  }
  EXPECT_FALSE(uploads->take()) << "it is not one of the planned ones";
  while (device->allocated_bytes() > before) std::this_thread::yield();
}

TEST_P(BatchUploadsTest, StopsAtAnyMomentLeaveNothingBehind) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(1000); ++round) {
    auto device = GetParam().open(static_cast<std::uint32_t>(round % 4));
    auto uploads = BatchUploads::make(device, kBatchBytes, 1 + random() % 3).value();
    std::stop_source stop;
    const std::uint64_t most = random() % 6;
    std::deque<DeviceBatch> held;
    std::thread producer([&] {
      for (std::uint64_t i = 0;; ++i) {
        auto batch = make_batch(*uploads, 0, i, stop.get_token());
        if (!batch) return;
        if (i < most) held.push_back(std::move(*batch));
      }
    });
    if (random() % 2 == 0) std::this_thread::yield();
    stop.request_stop();
    producer.join();
    uploads.reset();  // before the batches that came from it
    if (GetParam().fail_allocation != nullptr) {
      EXPECT_GE(device->allocated_bytes(), held.empty() ? 0 : kBatchBytes);
    }
  }
}

TEST_P(BatchUploadsTest, NoMemoryIsAnErrorAndKeepsNothing) {
  auto device = GetParam().open(0);
  auto refused = BatchUploads::make(device, testing::kDeviceBytes / 4, 5);
  ASSERT_FALSE(refused);
  EXPECT_EQ(fault_of(refused.error()), DeviceFault::kOutOfMemory);
  auto fits = BatchUploads::make(device, kBatchBytes, 5);
  ASSERT_TRUE(fits);
  if (GetParam().fail_allocation == nullptr) return;
  for (std::uint64_t nth = 1; nth <= 7; ++nth) {
    GetParam().fail_allocation(*device, nth);
    EXPECT_FALSE(BatchUploads::make(device, kBatchBytes, 5)) << nth;
  }
  GetParam().fail_allocation(*device, 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, BatchUploadsTest, ::testing::ValuesIn(testing::device_cases()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace shardreel
