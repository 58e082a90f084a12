// The fake runtime must find what it is there for: each test plants a mistake.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "loader/device/cuda/cuda_error.h"
#include "loader/device/device_registry.h"
#include "tests/support/fakecuda/fakecuda.h"

namespace shardreel {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// A stream, a device block and a pinned one, straight from the runtime.
class FakeCuda : public ::testing::Test {
 protected:
  void SetUp() override {
    fakecuda::configure({3, 1 << 20, 0});
    cudaMemPoolProps properties{};
    properties.location.id = 0;
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
    ASSERT_EQ(cudaMemPoolCreate(&pool_, &properties), cudaSuccess);
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), cudaSuccess);
    ASSERT_EQ(cudaMallocFromPoolAsync(&block_, kBytes, pool_, stream_), cudaSuccess);
    ASSERT_EQ(cudaHostAlloc(&pinned_, kBytes, cudaHostAllocDefault), cudaSuccess);
    ASSERT_EQ(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), cudaSuccess);
  }
  void TearDown() override {
    fakecuda::pause(false);
    cudaSetDevice(0);
    if (block_ != nullptr) cudaFreeAsync(block_, stream_);
    cudaStreamSynchronize(stream_);
    cudaFreeHost(pinned_);
    cudaEventDestroy(event_);
    cudaStreamDestroy(stream_);
    cudaMemPoolDestroy(pool_);
    fakecuda::take_misuse();
    EXPECT_EQ(fakecuda::live(), 0U);
  }

  static constexpr std::size_t kBytes = 4096;
  cudaMemPool_t pool_ = nullptr;
  cudaStream_t stream_ = nullptr;
  void* block_ = nullptr;
  void* pinned_ = nullptr;
  cudaEvent_t event_ = nullptr;
};

TEST_F(FakeCuda, FindsAPinnedBufferThatIsUsedAgainTooEarly) {
  fakecuda::pause(true);
  std::memset(pinned_, 1, kBytes);
  ASSERT_EQ(cudaMemcpyAsync(block_, pinned_, kBytes, cudaMemcpyHostToDevice, stream_), cudaSuccess);
  std::memset(pinned_, 2, kBytes);  // without waiting for the copy
  fakecuda::pause(false);
  std::vector<char> back(kBytes);
  ASSERT_EQ(cudaMemcpyAsync(back.data(), block_, kBytes, cudaMemcpyDeviceToHost, stream_),
            cudaSuccess);
  EXPECT_EQ(back[0], 2) << "the copy took what was there when it ran";
}

TEST_F(FakeCuda, TakesPageableMemoryAtTheCall) {
  fakecuda::pause(true);
  std::vector<char> pageable(kBytes, 1), back(kBytes);
  ASSERT_EQ(cudaMemcpyAsync(block_, pageable.data(), kBytes, cudaMemcpyHostToDevice, stream_),
            cudaSuccess);
  std::fill(pageable.begin(), pageable.end(), char{2});
  fakecuda::pause(false);
  ASSERT_EQ(cudaMemcpyAsync(back.data(), block_, kBytes, cudaMemcpyDeviceToHost, stream_),
            cudaSuccess);
  EXPECT_EQ(back[0], 1);
}

TEST_F(FakeCuda, FindsACopyPastTheEndAndTheWrongKind) {
  EXPECT_EQ(cudaMemcpyAsync(block_, pinned_, kBytes + 1, cudaMemcpyHostToDevice, stream_),
            cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpyAsync(block_, pinned_, kBytes, cudaMemcpyDeviceToHost, stream_),
            cudaErrorInvalidValue);
  EXPECT_THAT(fakecuda::take_misuse(),
              ElementsAre(HasSubstr("past the end"), HasSubstr("wrong side")));
}

TEST_F(FakeCuda, FindsTheWrongCurrentDevice) {
  ASSERT_EQ(cudaSetDevice(2), cudaSuccess);
  EXPECT_NE(cudaEventRecord(event_, stream_), cudaSuccess);
  EXPECT_THAT(fakecuda::take_misuse(), ElementsAre(HasSubstr("not current")));
}

TEST_F(FakeCuda, FindsDoubleFreesLeaksAndStreamsThatEndEarly) {
  EXPECT_NE(cudaFreeHost(block_), cudaSuccess);
  const std::size_t before = fakecuda::live();
  void* leaked = nullptr;
  ASSERT_EQ(cudaHostAlloc(&leaked, 10, 0), cudaSuccess);
  EXPECT_EQ(fakecuda::live(), before + 1);
  ASSERT_EQ(cudaFreeHost(leaked), cudaSuccess);
  cudaStream_t early = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&early, cudaStreamNonBlocking), cudaSuccess);
  fakecuda::pause(true);
  ASSERT_EQ(cudaMemcpyAsync(block_, pinned_, 10, cudaMemcpyHostToDevice, early), cudaSuccess);
  std::thread destroyer([&] { cudaStreamDestroy(early); });
  while (fakecuda::live() != before) std::this_thread::yield();
  fakecuda::pause(false);
  destroyer.join();
  EXPECT_THAT(fakecuda::take_misuse(),
              ElementsAre(HasSubstr("pinned memory"), HasSubstr("work in line")));
}

TEST_F(FakeCuda, MemoryIsPoisonedCountedAndRefused) {
  std::vector<unsigned char> back(kBytes);
  ASSERT_EQ(cudaMemcpyAsync(back.data(), block_, kBytes, cudaMemcpyDeviceToHost, stream_),
            cudaSuccess);
  EXPECT_EQ(back[0], 0xA5);
  void* much = nullptr;
  EXPECT_EQ(cudaMallocFromPoolAsync(&much, 1 << 20, pool_, stream_), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaErrorMemoryAllocation);
  EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  std::size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(total - free, kBytes);
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  EXPECT_EQ(free, total);
}

TEST(CudaDevice, EveryWayToHaveNoCudaIsSaidInOneLine) {
  fakecuda::configure({});
  for (const int code : {34, 35, 100, 3, 46, 802, 803, 804, 999}) {
    fakecuda::fail_everything(static_cast<cudaError_t>(code));
    const CudaPresence presence = cuda_presence();
    EXPECT_EQ(presence.devices, 0U) << code;
    EXPECT_THAT(presence.why_none, HasSubstr(fmt::format("({})", code)));
    auto opened = open_device({DeviceKind::kCuda, 0});
    ASSERT_FALSE(opened);
    EXPECT_EQ(fault_of(opened.error()), DeviceFault::kUnavailable) << code;
    EXPECT_EQ(cuda::fault_of_code(static_cast<cudaError_t>(code)), DeviceFault::kUnavailable);
  }
  fakecuda::fail_everything(cudaSuccess);
  fakecuda::configure({0, 1 << 20, 0});
  EXPECT_FALSE(open_device({DeviceKind::kCuda, 0}));
  fakecuda::configure({2, 1 << 20, 0});
  EXPECT_EQ(cuda_presence().devices, 2U);
  auto third = open_device({DeviceKind::kCuda, 2});
  ASSERT_FALSE(third);
  EXPECT_THAT(third.error().message, HasSubstr("cuda:0 to cuda:1"));
}

TEST(CudaDevice, ErrorsAreTakenOffTheThreadAndSorted) {
  EXPECT_EQ(cuda::fault_of_code(cudaErrorMemoryAllocation), DeviceFault::kOutOfMemory);
  EXPECT_EQ(cuda::fault_of_code(cudaErrorIllegalAddress), DeviceFault::kLost);
  EXPECT_EQ(cuda::fault_of_code(cudaErrorInvalidValue), DeviceFault::kInvalid);
  fakecuda::configure({1, 1 << 20, 0});
  {
    auto device = open_device({DeviceKind::kCuda, 0}).value();
    auto stream = device->make_stream().value();
    auto refused = device->allocate(2 << 20, stream);
    ASSERT_FALSE(refused);
    EXPECT_EQ(fault_of(refused.error()), DeviceFault::kOutOfMemory);
    EXPECT_EQ(cudaPeekAtLastError(), cudaSuccess);
  }
  EXPECT_THAT(fakecuda::take_misuse(), IsEmpty());
  EXPECT_EQ(fakecuda::live(), 0U);
}

TEST(CudaDevice, LeavesTheCallersDeviceAsItWas) {
  fakecuda::configure({4, 1 << 20, 0});
  ASSERT_EQ(cudaSetDevice(3), cudaSuccess);
  {
    auto device = open_device({DeviceKind::kCuda, 1}).value();
    auto stream = device->make_stream().value();
    auto block = device->allocate(100, stream).value();
    ASSERT_TRUE(stream->synchronize());
  }
  int now = -1;
  ASSERT_EQ(cudaGetDevice(&now), cudaSuccess);
  EXPECT_EQ(now, 3);
  ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
}

TEST(CudaDevice, GoesQuietlyWhenTheRuntimeIsUnloading) {
  fakecuda::configure({1, 1 << 20, 0});
  auto device = open_device({DeviceKind::kCuda, 0}).value();
  auto stream = device->make_stream().value();
  auto event = device->make_event().value();
  {
    auto pinned = device->allocate_pinned(64).value();
    auto block = device->allocate(64, stream).value();
    fakecuda::fail_everything(cudaErrorCudartUnloading);
  }
  event.reset();
  stream.reset();
  device.reset();
  // The runtime's end frees what is left; here nobody does, and the next test must not care.
  fakecuda::fail_everything(cudaSuccess);
  EXPECT_GT(fakecuda::live(), 0U);
  fakecuda::abandon();
}

}  // namespace
}  // namespace shardreel
