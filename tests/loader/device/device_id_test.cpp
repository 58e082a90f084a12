#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "loader/device/device_registry.h"
#include "loader/device/host_device.h"

namespace shardreel {
namespace {

TEST(DeviceId, NamesAreReadAndWritten) {
  EXPECT_EQ(DeviceId::parse("cpu:0"), (DeviceId{DeviceKind::kCpu, 0}));
  EXPECT_EQ(DeviceId::parse("cuda:12"), (DeviceId{DeviceKind::kCuda, 12}));
  EXPECT_EQ((DeviceId{DeviceKind::kCuda, 12}).to_string(), "cuda:12");
  for (const char* text :
       {"", "cpu", "cpu:", "cpu:01", "cuda:-1", "cuda:1 ", "gpu:0", "cuda:99999999999"})
    EXPECT_EQ(DeviceId::parse(text), std::nullopt) << text;
}

TEST(DeviceRegistry, AMachineWithoutCudaSaysSo) {
  const CudaPresence presence = cuda_presence();
  if (presence.devices > 0) GTEST_SKIP() << "this machine has CUDA";
  EXPECT_FALSE(presence.why_none.empty());
  auto opened = open_device({DeviceKind::kCuda, 0});
  ASSERT_FALSE(opened);
  EXPECT_EQ(fault_of(opened.error()), DeviceFault::kUnavailable);
  EXPECT_THAT(opened.error().message,
              ::testing::AllOf(::testing::HasSubstr("cuda:0"), ::testing::HasSubstr("no CUDA"),
                               ::testing::Not(::testing::HasSubstr("\n"))));
  EXPECT_TRUE(open_device({DeviceKind::kCpu, 7}));
}

TEST(HostDevice, OthersUseIsTakenOffWhatIsFree) {
  auto device = HostDevice::make(3, {1000, false});
  auto stream = device->make_stream().value();
  device->set_other_use(700);
  EXPECT_EQ(device->memory().value().free_bytes, 300U);
  EXPECT_FALSE(device->allocate(301, stream));
  EXPECT_TRUE(device->allocate(300, stream));
  device->set_other_use(5000);
  EXPECT_EQ(device->memory().value().free_bytes, 0U);
  EXPECT_EQ(device->id().to_string(), "cpu:3");
}

}  // namespace
}  // namespace shardreel
