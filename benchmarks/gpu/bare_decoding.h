#pragma once
// FFmpeg's CUDA decoders with nothing around them.

#include <cstdint>
#include <memory>
#include <string>

namespace shardreel::gpu_bench {

/// The packets of a shard's videos, held in memory. Throws where something cannot be read or
/// decoded on the GPU.
class BareDecoding {
 public:
  explicit BareDecoding(const std::string& shard);
  BareDecoding(const BareDecoding&) = delete;
  BareDecoding& operator=(const BareDecoding&) = delete;
  ~BareDecoding();

  /// Dense clips of 16 frames that the videos hold.
  [[nodiscard]] std::uint64_t clips() const noexcept { return clips_; }
  /// Decode every video `times` times with `sessions` sessions at a time.
  void decode(std::uint32_t sessions, std::uint32_t times) const;

 private:
  struct Videos;
  const std::unique_ptr<Videos> videos_;
  std::uint64_t clips_ = 0, frames_ = 0;
};

}  // namespace shardreel::gpu_bench
