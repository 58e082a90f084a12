// The CUDA device's own host code, on the fake runtime.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loader/device/device_registry.h"
#include "tests/loader/device/device_cases.h"
#include "tests/support/fakecuda/kernels.h"

namespace shardreel::testing {

std::vector<DeviceCase> device_cases() {
  DeviceCase fake{"fake_cuda", {}, nullptr, nullptr, nullptr, nullptr, nullptr};
  fake.open = [](std::uint32_t index) {
    if (fakecuda::live() == 0) fakecuda::configure({8, std::uint64_t{1} << 30, 200});
    fakecuda::set_kernels();
    return open_device({DeviceKind::kCuda, index}, kDeviceBytes).value();
  };
  fake.fail_allocation = [](Device&, std::uint64_t nth) { fakecuda::fail_allocation(nth); };
  fake.pause = [](Device&, bool on) { fakecuda::pause(on); };
  fake.foreign_stream = [](Device&) -> std::shared_ptr<void> {
    cudaStream_t stream = nullptr;
    EXPECT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    return {stream, [](void* made) {
              EXPECT_EQ(cudaStreamSynchronize(static_cast<cudaStream_t>(made)), cudaSuccess);
              EXPECT_EQ(cudaStreamDestroy(static_cast<cudaStream_t>(made)), cudaSuccess);
            }};
  };
  fake.check = [] {
    EXPECT_THAT(fakecuda::take_misuse(), ::testing::IsEmpty());
    EXPECT_EQ(fakecuda::live(), 0U) << "something of the runtime was left over";
  };
  return {fake};
}

}  // namespace shardreel::testing
