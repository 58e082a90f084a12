#include "loader/pipeline/monitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <string>
#include <utility>

#include "loader/base/mutex.h"
#include "loader/memory/heap_trim.h"

namespace shardreel {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr seconds kPeriod{1};
constexpr seconds kStall{30};

}  // namespace

struct Monitor::State {
  State(boost::asio::io_context& loop, const MemoryLedger& memory_ledger, Hooks given)
      : timer(loop), ledger(memory_ledger), hooks(std::move(given)), baseline(process_memory()) {}

  boost::asio::steady_timer timer;
  const MemoryLedger& ledger;
  const Hooks hooks;
  const ProcessMemory baseline;

  mutable Mutex mutex;
  mutable ProcessMemory now SHARDREEL_GUARDED_BY(mutex);
  mutable ProcessMemory peak SHARDREEL_GUARDED_BY(mutex);
  mutable std::uint64_t most_of_files SHARDREEL_GUARDED_BY(mutex) = 0;
  steady_clock::time_point warned_stall SHARDREEL_GUARDED_BY(mutex);
  TrimPacer trims{steady_clock::now()};  ///< the timer's

  ProcessMemory sample() const {
    const ProcessMemory memory = process_memory();
    const MutexLock lock(mutex);
    now = memory;
    peak.pss_bytes = std::max(peak.pss_bytes, memory.pss_bytes);
    peak.rss_bytes = std::max({peak.rss_bytes, memory.rss_bytes, memory.most_rss_bytes});
    peak.anonymous_bytes = std::max(peak.anonymous_bytes, memory.anonymous_bytes);
    most_of_files = std::max(most_of_files,
                             memory.rss_bytes - std::min(memory.rss_bytes, memory.anonymous_bytes));
    // What came and went between two samples. The mark counts files' pages, too: at that moment
    // no more of them than were ever seen.
    if (memory.most_rss_bytes > baseline.most_rss_bytes)
      peak.anonymous_bytes =
          std::max(peak.anonymous_bytes,
                   memory.most_rss_bytes - std::min(memory.most_rss_bytes, most_of_files));
    return memory;
  }

  void arm() {
    timer.expires_after(kPeriod);
    timer.async_wait([this](const boost::system::error_code& error) {
      if (error) return;
      trim(sample().anonymous_bytes);
      look_for_stall();
      arm();
    });
  }

  void trim(std::uint64_t before) {
    const auto begin = steady_clock::now();
    if (!trims.due(begin)) return;
    trim_heap();
    const auto end = steady_clock::now();
    const std::uint64_t after = sample().anonymous_bytes;
    trims.done(end, end - begin, before - std::min(before, after));
  }

  void look_for_stall() {
    const std::string what = hooks.stalled(kStall);
    if (what.empty()) return;
    {
      const MutexLock lock(mutex);
      if (steady_clock::now() - warned_stall < kStall) return;
      warned_stall = steady_clock::now();
    }
    hooks.warn(fmt::format("no batch for {} s: waiting for {}", kStall.count(), what));
  }
};

Monitor::Monitor(boost::asio::io_context& loop, const MemoryLedger& ledger, Hooks hooks)
    : state_(std::make_unique<State>(loop, ledger, std::move(hooks))) {}

Monitor::~Monitor() = default;

void Monitor::start() { state_->arm(); }

void Monitor::read(Metrics& metrics) const {
  state_->sample();
  const MemoryLedger::Snapshot use = state_->ledger.snapshot();
  for (std::size_t i = 0; i < kMemoryTags; ++i) {
    metrics.ledger[std::string(to_string(static_cast<MemoryTag>(i)))] = {use.tags[i].now,
                                                                         use.tags[i].peak};
  }
  metrics.ledger_peak_bytes = use.total.peak;
  metrics.baseline_anonymous_bytes = state_->baseline.anonymous_bytes;
  const MutexLock lock(state_->mutex);
  metrics.pss_bytes = state_->now.pss_bytes;
  metrics.rss_bytes = state_->now.rss_bytes;
  metrics.peak_pss_bytes = state_->peak.pss_bytes;
  metrics.peak_rss_bytes = state_->peak.rss_bytes;
  metrics.peak_anonymous_bytes = state_->peak.anonymous_bytes;
}

}  // namespace shardreel
