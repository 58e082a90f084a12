#pragma once
// Looks at the run once a second: what the kernel says of memory, whether free memory should go
// back to it, and whether a consumer waits long.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "loader/memory/memory_budget.h"
#include "loader/memory/process_memory.h"
#include "shardreel/metrics.h"

namespace boost::asio {
class io_context;
}

namespace shardreel {

/// Timers on the event loop; stop the loop before this dies. `read` is thread-safe.
class Monitor {
 public:
  struct Hooks {
    std::function<void(std::string_view)> warn;
    /// What a lane waits for when its consumer has waited this long; empty = none does.
    std::function<std::string(std::chrono::seconds)> stalled;
  };

  Monitor(boost::asio::io_context& loop, const MemoryLedger& ledger, Hooks hooks);
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;
  ~Monitor();

  void start();

  /// Fill in ledger and kernel figures; takes a fresh sample.
  void read(Metrics& metrics) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace shardreel
