#include "loader/pipeline/decode_pool.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "loader/base/name_thread.h"
#include "loader/base/trace_range.h"
#include "loader/window/clip_cutter.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kMostKeptBytes = std::uint64_t{32} << 20;
// Batches by which a lane of another GPU must be behind to be served first.
constexpr std::uint64_t kWellBehind = 2;

}  // namespace

/// One decode thread's tools.
class DecodePool::Worker {
 public:
  Worker(DecodePool& pool, std::size_t thread) : pool_(pool), tools_(pool.tools_.make(thread)) {
    if (tools_.device)
      pinned_ = pool.pinned_.try_reserve(pool.clips_.block_bytes(), MemoryTag::kPinned);
  }

  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const std::uint64_t seen = pool_.work_.version();
      const DecodeLane* lane = nullptr;
      if (auto job = pool_.take(tools_.device.get(), lane)) {
        const TraceRange range(pool_.counters_.decode.stage());
        const auto begin = std::chrono::steady_clock::now();
        waited_ = {};
        decode(*lane, *job);
        pool_.counters_.decode.add(std::chrono::steady_clock::now() - begin - waited_);
        pool_.counters_.decode_idle.add(waited_);
        continue;
      }
      // Nothing to do may mean that there is no memory to do it: what is kept for speed goes first.
      tools_.decoder->trim();
      const Timed timed(pool_.counters_.decode_idle);
      pool_.work_.wait(seen, stop);
    }
  }

 private:
  void decode(const DecodeLane& lane, UnitJob& job) {
    UnitLine& line = *lane.line;
    // A large decoder takes what clips had of the share: they give it back to the system first.
    // What the unit holds beyond its decoder is for clips of its own.
    if (job.decoder_bytes > kMostKeptBytes) {
      const std::uint64_t held = job.memory.bytes();
      pool_.clips_.return_free(job.decoder_bytes, held - std::min(held, job.decoder_bytes));
    }
    ClipCutter cutter(
        job.unit, job.sample->context, *tools_.converter,
        [&](const AVFrame& first) { return begin_clip(lane, job, first); },
        [&](std::size_t clip, ClipResult result) { line.emit(job, clip, std::move(result)); });
    std::optional<Error> cause = decode_into(cutter, job);
    if (cause) {
      const SampleFields& sample = *job.sample->context.sample;
      cause->at(sample.shard, sample.key);
    }
    cutter.finish(cause);
    // Small decoders are kept for the next unit; a large one would be counted by nobody.
    if (job.decoder_bytes > kMostKeptBytes) tools_.decoder->trim();
    line.finish(job);
  }

  /// What went wrong, if anything did. Nothing may leave a thread as an exception: the heap can be
  /// empty for one video and have room for the next.
  std::optional<Error> decode_into(ClipCutter& cutter, UnitJob& job) {
    try {
      auto report = tools_.decoder->decode(job.unit, cutter, job.stop);
      if (!report) return std::move(report.error());
      pool_.counters_.frames_decoded += report->frames_decoded;
      return std::move(report->first_error);
    } catch (const std::exception& error) {
      tools_.decoder->trim();
      return Error{
          ErrorCode::kInternal, std::string("decoding a unit: ") + error.what(), {}, {}, {}};
    }
  }

  Result<ClipMemory> begin_clip(const DecodeLane& lane, UnitJob& job, const AVFrame& first) {
    const auto begin = std::chrono::steady_clock::now();
    auto reservation = lane.line->begin_clip(job);
    waited_ += std::chrono::steady_clock::now() - begin;
    if (!reservation) return reservation.error();
    ClipMemory memory;
    memory.reservation = std::move(*reservation);
    if (lane.clips != nullptr && lane.device == tools_.device.get() &&
        tools_.converter->is_on_device(first))
      memory.on_device = lane.clips->take();
    if (memory.on_device) return memory;
    memory.block = pool_.clips_.take();
    if (!memory.block) {
      return Error{
          ErrorCode::kInternal, "a clip's memory was reserved but is not there", {}, {}, {}};
    }
    return memory;
  }

  DecodePool& pool_;
  std::optional<Reservation> pinned_;  // of the tools' clip on its way down; goes after them
  const DecodeTools tools_;
  std::chrono::steady_clock::duration waited_{};  // for memory, within the unit
};

DecodePool::DecodePool(DecodeToolbox& tools, BlockPool& clips, MemoryShare& pinned, Signal& work,
                       Counters& counters)
    : tools_(tools), clips_(clips), pinned_(pinned), work_(work), counters_(counters) {}

void DecodePool::start(std::vector<DecodeLane> lanes, std::size_t threads) {
  lanes_ = std::move(lanes);
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, i](const std::stop_token& stop) {
      name_thread("sr-decode");
      Worker(*this, i).run(stop);
    });
  }
}

void DecodePool::stop() {
  for (std::jthread& thread : threads_) thread.request_stop();
  threads_.clear();
}

std::shared_ptr<UnitJob> DecodePool::take(const Device* near, const DecodeLane*& from) {
  std::vector<std::pair<std::uint64_t, const DecodeLane*>> order;
  order.reserve(lanes_.size());
  for (const DecodeLane& lane : lanes_) {
    const bool other = near != nullptr && lane.device != near;
    order.emplace_back(lane.progress() + (other ? kWellBehind : 0), &lane);
  }
  std::ranges::stable_sort(order, {}, &std::pair<std::uint64_t, const DecodeLane*>::first);
  for (const auto& [progress, lane] : order) {
    if (auto job = lane->line->try_take()) {
      from = lane;
      return job;
    }
  }
  return nullptr;
}

}  // namespace shardreel
