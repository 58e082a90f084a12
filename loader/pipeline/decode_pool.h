#pragma once
// The decode threads, shared by all lanes.

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "loader/base/signal.h"
#include "loader/device/device_clips.h"
#include "loader/memory/block_pool.h"
#include "loader/pipeline/counters.h"
#include "loader/pipeline/decode_tools.h"
#include "loader/pipeline/unit_line.h"

namespace shardreel {

/// A lane as the decode threads see it.
struct DecodeLane {
  UnitLine* line = nullptr;  ///< borrowed
  std::function<std::uint64_t()>
      progress;                  ///< grows as the lane gets on; the smallest is served first
  Device* device = nullptr;      ///< that its batches are on, if a GPU; borrowed
  DeviceClips* clips = nullptr;  ///< room for its clips there; borrowed
};

/// Threads that take units from the lane furthest behind, decode them and cut their clips. Each has
/// tools of its own; what they keep between units is given back before they wait. Those of a GPU
/// serve its lanes first unless another is well behind: their clips can stay there.
class DecodePool {
 public:
  /// `pinned` has a clip for each thread whose tools include a GPU's.
  DecodePool(DecodeToolbox& tools, BlockPool& clips, MemoryShare& pinned, Signal& work,
             Counters& counters);
  DecodePool(const DecodePool&) = delete;
  DecodePool& operator=(const DecodePool&) = delete;
  ~DecodePool() { stop(); }

  /// Start `threads` threads on these lanes. `work` is raised when a unit may be ready.
  void start(std::vector<DecodeLane> lanes, std::size_t threads);

  /// Stop and join. The lines must have been cleared, so that no decoder waits for memory.
  void stop();

 private:
  class Worker;
  std::shared_ptr<UnitJob> take(const Device* near, const DecodeLane*& from);

  DecodeToolbox& tools_;
  BlockPool& clips_;
  MemoryShare& pinned_;
  Signal& work_;
  Counters& counters_;
  std::vector<DecodeLane> lanes_;
  std::vector<std::jthread> threads_;
};

}  // namespace shardreel
