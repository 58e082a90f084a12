// The benchmarks' network on a GPU, against sums in double precision.
#include "benchmarks/gpu/network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "benchmarks/gpu/gpu_bench.h"
#include "loader/device/device_registry.h"

namespace shardreel::gpu_bench {
namespace {

TEST(Network, ItsValuesAreThoseOfThePlainSums) {
  const CudaPresence presence = cuda_presence();
  if (presence.devices == 0) GTEST_SKIP() << "no GPU: " << presence.why_none;
  constexpr std::size_t kRows = 70, kWidth = kNetworkWidth;  // one tile, and a part of the next
  constexpr int kLayers = 2;
  std::mt19937 random(7);
  std::vector<unsigned char> bytes(kRows * kWidth);
  for (unsigned char& byte : bytes) byte = static_cast<unsigned char>(random());
  const std::vector<float> weights = network_weights();
  std::vector<double> want(bytes.begin(), bytes.end());
  for (double& value : want) value /= 255;
  for (int layer = 0; layer < kLayers; ++layer) {
    std::vector<double> next(want.size());
    for (std::size_t row = 0; row < kRows; ++row) {
      for (std::size_t k = 0; k < kWidth; ++k) {
        for (std::size_t column = 0; column < kWidth; ++column)
          next[row * kWidth + column] += want[row * kWidth + k] * weights[k * kWidth + column];
      }
    }
    for (double& value : next) value = std::max(value, 0.0);
    want = std::move(next);
  }

  const OwnStream stream;
  const OwnMemory batch(bytes.size());
  check(cudaMemcpyAsync(batch.get(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice,
                        stream.get()),
        "copying up");
  Network network(stream.get(), kLayers, bytes.size());
  network.run(batch.get(), bytes.size());
  std::vector<float> got(bytes.size());
  check(cudaMemcpyAsync(got.data(), network.result(), got.size() * sizeof(float),
                        cudaMemcpyDeviceToHost, stream.get()),
        "copying down");
  stream.synchronize();
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(got[i]) - want[i]));
  EXPECT_LT(largest, 1e-3);
  EXPECT_GT(*std::ranges::max_element(want), 0.1) << "nothing would be seen";
}

}  // namespace
}  // namespace shardreel::gpu_bench
