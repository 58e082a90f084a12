#pragma once
// The fixed network that stands in for a trainer's: dense layers over a batch's bytes, on the GPU.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace shardreel::gpu_bench {

/// Bytes of a batch that make one row of the network, and values of every layer.
constexpr int kNetworkWidth = 768;

/// Throw std::runtime_error naming `doing` where the runtime reports an error.
void check(cudaError_t code, const char* doing);

/// The weights of every layer, [in][out]: numbers of no meaning, which neither die out nor explode.
std::vector<float> network_weights();

/// Work for `stream`, which it keeps memory for: rows of bytes become floats, then `layers` times
/// out = max(0, in * weights). One thread.
class Network {
 public:
  Network(cudaStream_t stream, int layers, std::uint64_t most_bytes);
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  ~Network();

  /// Put a pass over `bytes` bytes at `batch`, an address of the GPU, into the stream's line; bytes
  /// beyond whole rows are left out.
  void run(const void* batch, std::uint64_t bytes);
  /// Where the last layer's values are once the stream came there.
  [[nodiscard]] const float* result() const noexcept { return values_[newest_]; }

  /// Operations of a pass: a product and a sum are two.
  [[nodiscard]] static double flops(std::uint64_t bytes, int layers);

 private:
  const cudaStream_t stream_;
  const int layers_;
  const std::uint64_t most_bytes_;
  float* weights_ = nullptr;
  float* values_[2] = {nullptr, nullptr};
  int newest_ = 0;
};

}  // namespace shardreel::gpu_bench
