#include "benchmarks/gpu/network.h"

#include <cmath>
#include <stdexcept>
#include <string>

namespace shardreel::gpu_bench {

// A block makes a square of the result, a thread a square of four by four of that.
constexpr int kTile = 64, kEach = 4, kSide = kTile / kEach, kStep = 16;

__global__ void widen_bytes(const unsigned char* in, float* out, std::uint64_t count) {
  const std::uint64_t at = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at < count) out[at] = static_cast<float>(in[at]) * (1.0F / 255.0F);
}

__global__ void dense_layer(const float* in, const float* weights, float* out, int rows) {
  __shared__ float left[kStep][kTile + 1], right[kStep][kTile];
  const int row0 = static_cast<int>(blockIdx.y) * kTile;
  const int column0 = static_cast<int>(blockIdx.x) * kTile;
  const int thread = static_cast<int>(threadIdx.y * kSide + threadIdx.x);
  float sum[kEach][kEach] = {};
  for (int k0 = 0; k0 < kNetworkWidth; k0 += kStep) {
    for (int i = thread; i < kTile * kStep; i += kSide * kSide) {
      const int row = row0 + i / kStep;
      left[i % kStep][i / kStep] =
          row < rows ? in[static_cast<std::int64_t>(row) * kNetworkWidth + k0 + i % kStep] : 0.0F;
      right[i / kTile][i % kTile] =
          weights[static_cast<std::int64_t>(k0 + i / kTile) * kNetworkWidth + column0 + i % kTile];
    }
    __syncthreads();
    for (int k = 0; k < kStep; ++k) {
      for (int y = 0; y < kEach; ++y) {
        for (int x = 0; x < kEach; ++x) {
          sum[y][x] += left[k][static_cast<int>(threadIdx.y) * kEach + y] *
                       right[k][static_cast<int>(threadIdx.x) * kEach + x];
        }
      }
    }
    __syncthreads();
  }
  for (int y = 0; y < kEach; ++y) {
    const int row = row0 + static_cast<int>(threadIdx.y) * kEach + y;
    if (row >= rows) return;
    float* to = out + static_cast<std::int64_t>(row) * kNetworkWidth + column0;
    for (int x = 0; x < kEach; ++x)
      to[static_cast<int>(threadIdx.x) * kEach + x] = fmaxf(sum[y][x], 0.0F);
  }
}

void check(cudaError_t code, const char* doing) {
  if (code == cudaSuccess) return;
  throw std::runtime_error(std::string(doing) + ": " + cudaGetErrorName(code) + " (" +
                           cudaGetErrorString(code) + ")");
}

std::vector<float> network_weights() {
  std::vector<float> weights(std::size_t{kNetworkWidth} * kNetworkWidth);
  // Uniform in +-sqrt(6 / width): behind max(0, ...) the mean square stays what it was.
  const float scale = std::sqrt(6.0F / kNetworkWidth);
  std::uint32_t state = 12345;
  for (float& weight : weights) {
    state = state * 1664525U + 1013904223U;
    weight = (static_cast<float>(state >> 8) / static_cast<float>(1U << 23) - 1.0F) * scale;
  }
  return weights;
}

Network::Network(cudaStream_t stream, int layers, std::uint64_t most_bytes)
    : stream_(stream), layers_(layers), most_bytes_(most_bytes) {
  const std::vector<float> weights = network_weights();
  const std::size_t bytes = weights.size() * sizeof(float);
  check(cudaMalloc(reinterpret_cast<void**>(&weights_), bytes), "memory of the network");
  for (float*& values : values_) {
    check(cudaMalloc(reinterpret_cast<void**>(&values), most_bytes * sizeof(float)),
          "memory of the network");
  }
  check(cudaMemcpyAsync(weights_, weights.data(), bytes, cudaMemcpyHostToDevice, stream_),
        "copying the network's weights");
  check(cudaStreamSynchronize(stream_), "copying the network's weights");
}

Network::~Network() {
  cudaStreamSynchronize(stream_);
  cudaFree(weights_);
  cudaFree(values_[0]);
  cudaFree(values_[1]);
}

void Network::run(const void* batch, std::uint64_t bytes) {
  const auto rows = static_cast<int>(bytes / kNetworkWidth);
  const std::uint64_t count = static_cast<std::uint64_t>(rows) * kNetworkWidth;
  if (rows == 0 || count > most_bytes_)
    throw std::runtime_error("the network was made for " + std::to_string(most_bytes_) + " bytes");
  constexpr unsigned kThreads = 256;
  newest_ = 0;
  widen_bytes<<<static_cast<unsigned>((count + kThreads - 1) / kThreads), kThreads, 0, stream_>>>(
      static_cast<const unsigned char*>(batch), values_[0], count);
  check(cudaGetLastError(), "launching the network");
  const dim3 grid(kNetworkWidth / kTile, static_cast<unsigned>((rows + kTile - 1) / kTile));
  for (int layer = 0; layer < layers_; ++layer) {
    dense_layer<<<grid, dim3(kSide, kSide), 0, stream_>>>(values_[newest_], weights_,
                                                          values_[1 - newest_], rows);
    check(cudaGetLastError(), "launching the network");
    newest_ = 1 - newest_;
  }
}

double Network::flops(std::uint64_t bytes, int layers) {
  const auto rows = static_cast<double>(bytes / kNetworkWidth);
  return 2.0 * rows * kNetworkWidth * kNetworkWidth * layers;
}

}  // namespace shardreel::gpu_bench
