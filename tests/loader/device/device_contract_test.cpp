// What every device must do; see loader/device/device.h.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "loader/batch/collate.h"
#include "loader/batch/device_collate.h"
#include "loader/device/pinned_pool.h"
#include "loader/media/frame_geometry.h"
#include "tests/loader/device/device_cases.h"

namespace shardreel {
namespace {

using testing::DeviceCase;

class DeviceContract : public ::testing::TestWithParam<DeviceCase> {
 protected:
  void SetUp() override {
    if (!GetParam().why_not.empty()) GTEST_SKIP() << "no CUDA here: " << GetParam().why_not;
    device_ = GetParam().open(0);
    stream_ = device_->make_stream().value();
  }
  void TearDown() override {
    stream_.reset();
    device_.reset();
    if (GetParam().check != nullptr) GetParam().check();
  }

  std::unique_ptr<PinnedBuffer> pinned(std::uint64_t bytes, int fill) {
    auto buffer = device_->allocate_pinned(bytes).value();
    std::memset(buffer->data(), fill, bytes);
    return buffer;
  }
  DeviceBuffer block(std::uint64_t bytes) { return device_->allocate(bytes, stream_).value(); }

  std::shared_ptr<Device> device_;
  std::shared_ptr<Stream> stream_;
};

bool all(PinnedBuffer& buffer, int value) {
  return std::all_of(buffer.data(), buffer.data() + buffer.bytes(),
                     [&](std::byte b) { return b == static_cast<std::byte>(value); });
}

TEST_P(DeviceContract, SaysWhatItIs) {
  EXPECT_EQ(DeviceId::parse(device_->id().to_string()), device_->id());
  EXPECT_FALSE(device_->description().empty());
  const DeviceMemory memory = device_->memory().value();
  EXPECT_GT(memory.total_bytes, 0U);
  EXPECT_LE(memory.free_bytes, memory.total_bytes);
}

TEST_P(DeviceContract, BytesGoThereAndBack) {
  auto from = pinned(1 << 20, 0), back = pinned(1 << 20, 0);
  for (std::size_t i = 0; i < from->bytes(); ++i)
    from->data()[i] = static_cast<std::byte>(i * 7 + (i >> 11));
  DeviceBuffer there = block(1 << 20), second = block(1 << 20);
  ASSERT_TRUE(stream_->copy(there.data(), from->data(), from->bytes()));
  ASSERT_TRUE(stream_->copy(second.data(), there.data(), from->bytes()));
  ASSERT_TRUE(stream_->copy(back->data(), second.data(), from->bytes()));
  ASSERT_TRUE(stream_->synchronize());
  EXPECT_EQ(std::memcmp(from->data(), back->data(), from->bytes()), 0);
}

TEST_P(DeviceContract, AStreamOfSomebodyElseIsBorrowedAndNotEnded) {
  if (GetParam().foreign_stream == nullptr) GTEST_SKIP() << "no foreign streams in this case";
  auto from = pinned(1 << 16, 7), back = pinned(1 << 16, 0);
  DeviceBuffer there = block(1 << 16);
  auto event = device_->make_event().value();
  const std::shared_ptr<void> foreign = GetParam().foreign_stream(*device_);
  {
    auto borrowed = device_->borrow_stream(foreign.get()).value();
    ASSERT_TRUE(borrowed->copy(there.data(), from->data(), from->bytes()));
    ASSERT_TRUE(event->record(*borrowed));
  }
  ASSERT_TRUE(stream_->wait(*event));
  ASSERT_TRUE(stream_->copy(back->data(), there.data(), back->bytes()));
  ASSERT_TRUE(stream_->synchronize());
  EXPECT_TRUE(all(*back, 7));
  EXPECT_TRUE(device_->borrow_stream(foreign.get()).value()->synchronize()) << "it still goes on";
}

TEST_P(DeviceContract, RowsGoWhereTheyBelongAndTheGapsStay) {
  constexpr std::size_t kRows = 9, kBytes = 100, kFrom = 128, kTo = 160;
  auto from = pinned(kRows * kFrom, 1), back = pinned(kRows * kTo, 2);
  for (std::size_t y = 0; y < kRows; ++y)
    std::memset(from->data() + y * kFrom, static_cast<int>(10 + y), kBytes);
  DeviceBuffer there = block(kRows * kTo);
  ASSERT_TRUE(stream_->copy(there.data(), back->data(), kRows * kTo));
  ASSERT_TRUE(stream_->copy_rows({there.data(), kTo, from->data(), kFrom, kBytes, kRows}));
  ASSERT_TRUE(stream_->copy(back->data(), there.data(), kRows * kTo));
  ASSERT_TRUE(stream_->synchronize());
  for (std::size_t i = 0; i < kRows * kTo; ++i) {
    const auto want = static_cast<std::byte>(i % kTo < kBytes ? 10 + i / kTo : 2);
    ASSERT_EQ(back->data()[i], want) << "byte " << i;
  }
}

// Both ways of a clip into a batch write the same bytes, for all types, layouts and colours.
TEST_P(DeviceContract, ClipsAreCollatedAsOnTheHost) {
  constexpr std::uint32_t kFrames = 3;
  for (const ColorMode color : {ColorMode::kRgb, ColorMode::kGray, ColorMode::kYuv420}) {
    for (const Layout layout : {Layout::kThwc, Layout::kTchw, Layout::kCthw}) {
      for (const DType dtype : {DType::kUint8, DType::kFloat16, DType::kFloat32}) {
        TransformOptions options;
        options.width = 22;
        options.height = 14;
        options.color = color;
        options.layout = layout;
        options.dtype = dtype;
        options.mean = {0.4};
        options.std = {0.2};
        const std::size_t bytes = slot_bytes(options) * kFrames;
        const std::size_t part = bytes * element_bytes(dtype);
        auto clip = pinned(bytes, 0), back = pinned(3 * part, 0);
        for (std::size_t i = 0; i < bytes; ++i)
          clip->data()[i] = static_cast<std::byte>(i * 37 + (i >> 8));
        std::vector<std::byte> want(3 * part);
        collate_clip({clip->data(), bytes}, options, kFrames, std::span(want).subspan(part, part));

        const auto collate = DeviceCollate::make(*device_, stream_, options, kFrames).value();
        DeviceBuffer there = block(bytes), batch = block(3 * part);
        ASSERT_TRUE(stream_->copy(batch.data(), back->data(), 3 * part));
        ASSERT_TRUE(stream_->copy(there.data(), clip->data(), bytes));
        ASSERT_TRUE(
            collate.put(*stream_, there.data(), static_cast<std::byte*>(batch.data()) + part));
        ASSERT_TRUE(stream_->copy(back->data(), batch.data(), 3 * part));
        ASSERT_TRUE(stream_->synchronize());
        EXPECT_EQ(std::memcmp(back->data(), want.data(), want.size()), 0)
            << "color " << static_cast<int>(color) << " layout " << static_cast<int>(layout)
            << " dtype " << static_cast<int>(dtype);
        if (dtype == DType::kUint8) continue;
        const auto beyond = collate.put(*stream_, there.data(),
                                        static_cast<std::byte*>(batch.data()) + 2 * part + 4);
        EXPECT_EQ(fault_of(beyond.error()), DeviceFault::kInvalid) << "a place past the end";
      }
    }
  }
}

TEST_P(DeviceContract, BreachesOfTheRulesAreErrorsAndChangeNothing) {
  auto host = pinned(1000, 3);
  DeviceBuffer there = block(1000);
  std::vector<std::byte> pageable(1000);
  const auto invalid = [](const Result<void>& result) {
    return !result && fault_of(result.error()) == DeviceFault::kInvalid;
  };
  EXPECT_TRUE(invalid(stream_->copy(there.data(), host->data(), 1001)));
  EXPECT_TRUE(invalid(stream_->copy(there.data(), pageable.data(), 1000)));
  EXPECT_TRUE(invalid(stream_->copy(pageable.data(), there.data(), 1000)));
  EXPECT_TRUE(invalid(stream_->copy(host->data(), host->data(), 10)));
  EXPECT_TRUE(invalid(stream_->copy_rows({there.data(), 100, host->data(), 500, 200, 2})));
  EXPECT_TRUE(invalid(stream_->copy_rows({there.data(), 600, host->data(), 500, 500, 2})));
  EXPECT_TRUE(stream_->copy_rows({there.data(), 500, host->data(), 500, 500, 2}));
  EXPECT_TRUE(stream_->copy(there.data(), host->data(), 0));
  EXPECT_FALSE(device_->allocate(0, stream_));
  EXPECT_FALSE(device_->allocate(10, nullptr));
  EXPECT_FALSE(device_->allocate_pinned(0));
  ASSERT_TRUE(stream_->synchronize());
  EXPECT_TRUE(all(*host, 3));
}

TEST_P(DeviceContract, WorkOfAStreamIsInOrderAndEventsTellHowFarItCame) {
  constexpr int kRounds = 50;
  auto event = device_->make_event().value();
  EXPECT_TRUE(event->happened().value()) << "never recorded";
  EXPECT_TRUE(event->wait());
  std::vector<std::unique_ptr<PinnedBuffer>> sources;
  DeviceBuffer there = block(4096);
  auto back = pinned(4096, 0);
  for (int i = 0; i < kRounds; ++i) {
    sources.push_back(pinned(4096, i));
    ASSERT_TRUE(stream_->copy(there.data(), sources.back()->data(), 4096));
  }
  ASSERT_TRUE(stream_->copy(back->data(), there.data(), 4096));
  ASSERT_TRUE(event->record(*stream_));
  ASSERT_TRUE(event->wait());
  EXPECT_TRUE(event->happened().value());
  EXPECT_TRUE(all(*back, kRounds - 1));
  ASSERT_TRUE(stream_->synchronize());
}

TEST_P(DeviceContract, AnotherStreamWaitsForAnEventAndTheCallerDoesNot) {
  auto other = device_->make_stream().value();
  auto event = device_->make_event().value();
  auto from = pinned(1 << 16, 77), back = pinned(1 << 16, 0);
  DeviceBuffer there = block(1 << 16);
  if (GetParam().pause != nullptr) GetParam().pause(*device_, true);
  ASSERT_TRUE(stream_->copy(there.data(), from->data(), from->bytes()));
  ASSERT_TRUE(event->record(*stream_));
  ASSERT_TRUE(other->wait(*event));
  ASSERT_TRUE(other->copy(back->data(), there.data(), back->bytes()));
  if (GetParam().pause != nullptr) {
    // All of that returned while nothing could run.
    EXPECT_FALSE(event->happened().value());
    GetParam().pause(*device_, false);
  }
  ASSERT_TRUE(other->synchronize());
  EXPECT_TRUE(all(*back, 77));
}

TEST_P(DeviceContract, MemoryIsCountedRefusedAndComesBack) {
  const std::uint64_t before = device_->memory().value().free_bytes;
  EXPECT_EQ(device_->allocated_bytes(), 0U);
  {
    DeviceBuffer most = block(testing::kDeviceBytes - 4096);
    EXPECT_EQ(device_->allocated_bytes(), most.bytes());
    auto refused = device_->allocate(8192, stream_);
    ASSERT_FALSE(refused);
    EXPECT_EQ(fault_of(refused.error()), DeviceFault::kOutOfMemory);
    EXPECT_THAT(refused.error().message, ::testing::HasSubstr("8192"));
    EXPECT_EQ(device_->allocated_bytes(), most.bytes());
    EXPECT_TRUE(device_->allocate(4096, stream_)) << "what fits must still be given";
    if (GetParam().fail_allocation != nullptr) {
      EXPECT_LE(device_->memory().value().free_bytes + most.bytes(), before);
    }
  }
  ASSERT_TRUE(stream_->synchronize());
  EXPECT_EQ(device_->allocated_bytes(), 0U);
  device_->trim();
  if (GetParam().fail_allocation != nullptr) {  // nobody else uses such a device
    EXPECT_EQ(device_->memory().value().free_bytes, before);
  }
}

TEST_P(DeviceContract, EveryAllocationMayFailAndNothingIsLost) {
  if (GetParam().fail_allocation == nullptr) GTEST_SKIP() << "a real device fails when it wants to";
  for (std::uint64_t nth = 1; nth <= 4; ++nth) {
    GetParam().fail_allocation(*device_, nth);
    std::vector<DeviceBuffer> blocks;
    std::uint64_t failed = 0;
    for (std::uint64_t i = 1; i <= 4; ++i) {
      if (i == 4) {
        auto pool = PinnedPool::make(*device_, 4096, 1);
        failed += pool ? 0 : i;
        continue;
      }
      auto got = device_->allocate(1000, stream_);
      if (got) {
        blocks.push_back(std::move(*got));
      } else {
        EXPECT_EQ(fault_of(got.error()), DeviceFault::kOutOfMemory);
        failed += i;
      }
    }
    EXPECT_EQ(failed, nth);
    EXPECT_EQ(device_->allocated_bytes(), 1000 * blocks.size());
    blocks.clear();
    ASSERT_TRUE(stream_->synchronize());
  }
  GetParam().fail_allocation(*device_, 0);
  ASSERT_TRUE(stream_->synchronize());
  EXPECT_EQ(device_->allocated_bytes(), 0U);
}

TEST_P(DeviceContract, BuffersMoveAndOutliveTheDeviceHandle) {
  DeviceBuffer first = block(100), second = block(200);
  second = std::move(first);
  EXPECT_EQ(second.bytes(), 100U);
  DeviceBuffer& same = second;
  second = std::move(same);
  EXPECT_EQ(second.bytes(), 100U);
  EXPECT_NE(second.data(), nullptr);
  DeviceBuffer third(std::move(second));
  EXPECT_EQ(third.bytes(), 100U);
  auto memory = pinned(100, 9);
  std::shared_ptr<Stream> stream = stream_;
  stream_.reset();
  device_.reset();
  ASSERT_TRUE(stream->copy(third.data(), memory->data(), 100));
  ASSERT_TRUE(stream->synchronize());
}

TEST_P(DeviceContract, PinnedBlocksGoRoundOnlyAfterTheirCopies) {
  constexpr int kRounds = 40;
  auto pool = PinnedPool::make(*device_, 1 << 14, 2).value();
  const std::stop_token never;
  std::vector<DeviceBuffer> targets;
  for (int i = 0; i < kRounds; ++i) {
    auto source = pool->take(never).value();
    std::memset(source.data(), i, source.bytes());
    targets.push_back(block(source.bytes()));
    ASSERT_TRUE(stream_->copy(targets.back().data(), source.data(), source.bytes()));
    ASSERT_TRUE(source.copied().record(*stream_));
  }
  auto back = pinned(1 << 14, 0);
  for (int i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(stream_->copy(back->data(), targets[static_cast<std::size_t>(i)].data(), 1 << 14));
    ASSERT_TRUE(stream_->synchronize());
    ASSERT_TRUE(all(*back, i)) << "round " << i;
  }
  // While somebody holds all, only a stop ends the wait.
  auto first = pool->take(never).value(), second = pool->take(never).value();
  std::stop_source stop;
  std::thread stopper([&] { stop.request_stop(); });
  auto none = pool->take(stop.get_token());
  stopper.join();
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, ErrorCode::kStopped);
}

TEST_P(DeviceContract, ThreadsOfSeveralDevicesDoNotMixUpTheirs) {
  constexpr int kThreads = 4, kRounds = 30;
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      auto device = GetParam().open(static_cast<std::uint32_t>(t));
      auto stream = device->make_stream().value();
      auto pool = PinnedPool::make(*device, 8192, 2).value();
      auto back = device->allocate_pinned(8192).value();
      for (int i = 0; i < kRounds; ++i) {
        auto source = pool->take({}).value();
        std::memset(source.data(), t * 16 + i % 16, source.bytes());
        auto there = device->allocate(8192, stream).value();
        wrong += stream->copy(there.data(), source.data(), 8192) ? 0 : 1;
        wrong += source.copied().record(*stream) ? 0 : 1;
        wrong += stream->copy(back->data(), there.data(), 8192) ? 0 : 1;
        wrong += stream->synchronize() ? 0 : 1;
        wrong += all(*back, t * 16 + i % 16) ? 0 : 1;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceContract, ::testing::ValuesIn(testing::device_cases()),
                         [](const auto& param) { return param.param.name; });

}  // namespace
}  // namespace shardreel
