#include "shardreel/loader.h"

#include <fmt/format.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "loader/base/name_thread.h"
#include "loader/base/signal.h"
#include "loader/demux/packed_packets.h"
#include "loader/device/batch_uploads.h"
#include "loader/device/device_clips.h"
#include "loader/memory/block_pool.h"
#include "loader/pipeline/counters.h"
#include "loader/pipeline/decode_pool.h"
#include "loader/pipeline/epoch_length.h"
#include "loader/pipeline/lane.h"
#include "loader/pipeline/loader_state.h"
#include "loader/pipeline/memory_plan.h"
#include "loader/pipeline/monitor.h"
#include "loader/pipeline/rank.h"
#include "loader/pipeline/resolve.h"
#include "loader/pipeline/verdict.h"
#include "loader/read/read_service.h"
#include "shardreel/shard_url.h"

namespace shardreel {

using std::chrono::steady_clock;

/// Owns everything and passes references down. Members are in the order in which they are needed:
/// destruction runs backwards, and what is still in flight finds what it stands on.
class Loader::Impl {
 public:
  Impl(Resolved resolved, ShardList shards, std::vector<LaneDevice> gpus,
       std::vector<std::unique_ptr<BatchBuffers>> buffers, LogCallback log)
      : options_(std::move(resolved.options)),
        plan_(resolved.plan),
        rank_source_(std::move(resolved.rank_source)),
        domain_reason_(std::move(resolved.domain_reason)),
        device_reason_(std::move(resolved.device_reason)),
        log_(std::move(log)),
        gpus_(gpus),
        opened_(steady_clock::now()),
        clips_(plan_.clip_bytes,
               plan_.lanes *
                   ((plan_.lane_decode_bytes + plan_.lane_shuffle_bytes) / plan_.clip_bytes)),
        // Those that left are in the packets' share until they are decoded.
        packet_pages_(kPacketPageBytes,
                      plan_.lane_packet_tier_bytes == 0
                          ? 0
                          : plan_.lanes * ((plan_.lane_packet_tier_bytes + plan_.packet_bytes) /
                                           kPacketPageBytes)),
        monitor_(loop_, ledger_,
                 {.warn = [this](std::string_view text) { say(LogLevel::kWarning, text); },
                  .stalled = [this](std::chrono::seconds least) { return stalled(least); }}),
        reading_(options_.input, plan_.lanes, std::move(shards), plan_.remote, ledger_, loop_,
                 [this](std::string_view text) { say(LogLevel::kWarning, text); }),
        device_clips_(room_for_clips(gpus)),
        toolbox_(
            decode_toolbox({options_, counters_, decoding_gpus(options_, std::move(gpus)),
                            [this](std::string_view text) { say(LogLevel::kWarning, text); }})),
        clips_give_way_(enrol_clips()),
        decoding_(*toolbox_, clips_, pinned_, work_, counters_) {
    const std::uint64_t world = *options_.batch.world_size * plan_.lanes;
    for (std::size_t i = 0; i < plan_.lanes; ++i) {
      lanes_.push_back(std::make_unique<Lane>(
          LaneContext{options_, plan_, reading_, ledger_, packet_pages_, counters_, work_,
                      [this](std::string_view text) { say(LogLevel::kWarning, text); }},
          options_.resource.devices[i], std::move(buffers[i]),
          *options_.batch.rank * plan_.lanes + i, world));
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() { stop(); }

  /// With the lanes' states: behind them.
  void start(const std::vector<LaneState>& from) {
    say(LogLevel::kInfo, rank_source_);
    if (!device_reason_.empty()) say(LogLevel::kInfo, device_reason_);
    if (!domain_reason_.empty()) say(LogLevel::kInfo, domain_reason_);
    monitor_.start();
    event_thread_ = std::thread([this] {
      name_thread("sr-events");
      loop_.run();
    });
    std::vector<DecodeLane> served;
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      DecodeLane lane{&lanes_[i]->line(), [of = lanes_[i].get()] { return of->progress(); }};
      if (i < device_clips_.size()) {
        lane.device = device_clips_[i].device.get();
        lane.clips = device_clips_[i].clips.get();
      }
      served.push_back(std::move(lane));
    }
    decoding_.start(std::move(served), options_.resource.decode_threads);
    for (std::size_t i = 0; i < lanes_.size(); ++i)
      lanes_[i]->start(from.empty() ? nullptr : &from[i]);
  }

  /// From the right to the left would deadlock nobody, but this order leaves nobody waiting: first
  /// everyone is told, then threads are joined, those that others wait for last.
  void stop() noexcept {
    const std::lock_guard lock(stop_mutex_);
    if (std::exchange(stopped_, true)) return;
    measuring_.request_stop();
    closed_ = (steady_clock::now() - opened_).count();
    for (const auto& lane : lanes_) lane->interrupt();
    decoding_.stop();
    for (const auto& lane : lanes_) lane->stop();
    reading_.join();
    loop_.stop();
    if (event_thread_.joinable()) event_thread_.join();
  }

  Lane& lane(std::size_t number) {
    if (number >= lanes_.size()) {
      throw ShardreelError({ErrorCode::kInvalidOption,
                            fmt::format("lane {} of {}: expected one below the number of devices",
                                        number, lanes_.size()),
                            {},
                            {},
                            {}});
    }
    return *lanes_[number];
  }
  const std::vector<std::unique_ptr<Lane>>& lanes() const { return lanes_; }

  std::optional<Batch> next(std::size_t number) {
    auto batch = lane(number).next();
    if (batch) {
      std::int64_t never = 0;
      const auto now = (steady_clock::now() - opened_).count();
      first_batch_.compare_exchange_strong(never, now);
    }
    return batch;
  }

  std::optional<EpochSize> epoch_size(std::uint64_t epoch, std::size_t number) {
    (void)lane(number);
    const auto& given = options_.batch.batches_per_epoch;
    if (given) return EpochSize{*given * options_.batch.batch_size, *given};
    std::call_once(measured_, [this] {
      if (auto length =
              EpochLength::measure(options_, plan_, reading_.shards(), measuring_.get_token()))
        length_ = std::move(*length);
    });
    if (!length_) return std::nullopt;
    return length_->size(epoch, *options_.batch.rank * plan_.lanes + number);
  }

  LoaderState state() const {
    std::vector<LaneState> states;
    std::set<std::uint64_t> shards;
    for (const auto& lane : lanes_) {
      states.push_back(lane->state());
      shards.merge(states.back().shards());
    }
    auto contents = reading_.contents(shards);
    // Of shards that this loader has not come to yet, the state that it went on with knows.
    for (const LaneState& state : states) {
      for (const auto& [number, content] : state.contents) {
        if (shards.contains(number)) contents.try_emplace(number, content);
      }
    }
    return {write_state(options_, reading_.shards(), states, contents)};
  }

  std::uint64_t release_gpu() {
    std::uint64_t bytes = 0;
    for (const LaneDevice& gpu : gpus_) bytes += release(gpu);
    return bytes;
  }

  Metrics metrics() {
    Metrics metrics;
    counters_.write_to(metrics);
    toolbox_->write_to(metrics);
    monitor_.read(metrics);
    metrics.shards_opened = reading_.shards_opened();
    reading_.write_to(metrics);
    const std::int64_t closed = closed_;
    const auto lived = closed != 0 ? steady_clock::duration(closed) : steady_clock::now() - opened_;
    metrics.seconds = std::chrono::duration<double>(lived).count();
    metrics.first_batch_seconds =
        std::chrono::duration<double>(steady_clock::duration(first_batch_.load())).count();
    metrics.verdict = verdict(metrics, options_, plan_.lanes);
    return metrics;
  }

  static std::unique_ptr<Impl> make(const LoaderOptions& options, const LoaderState* from,
                                    LogCallback log, const std::stop_token& stop);

  const LoaderOptions& options() const { return options_; }
  const LogCallback& log() const { return log_; }
  const std::string& rank_source() const { return rank_source_; }

 private:
  void say(LogLevel level, std::string_view text) {
    if (!log_) return;
    const std::lock_guard lock(log_mutex_);
    log_(level, text);
  }

  /// A lane's GPU with its room for clips, where it decodes, too.
  struct LaneClips {
    std::shared_ptr<Device> device;
    std::optional<Reservation> pinned;   // of its way down; goes after it
    std::unique_ptr<DeviceClips> clips;  // null: clips go through host memory
  };
  std::vector<LaneClips> room_for_clips(const std::vector<LaneDevice>& gpus) {
    std::vector<LaneClips> rooms;
    if (!plan_.on_gpus || options_.resource.decode == DecodeDevice::kCpu) return rooms;
    const std::uint64_t batches = BatchUploads::device_bytes(plan_.batch_bytes, plan_.lane_batches);
    for (const LaneDevice& gpu : gpus) {
      auto room = DeviceClips::make(gpu.device, gpu.governor, elements_per_clip(options_),
                                    device_clip_bytes(gpu.budget_bytes, batches), clips_);
      if (!room) {
        say(LogLevel::kWarning, gpu.device->id().to_string() + " holds no clips, they go through " +
                                    "host memory: " + room.error().message);
        rooms.push_back({gpu.device, std::nullopt, nullptr});
        continue;
      }
      auto pinned = pinned_.try_reserve(plan_.clip_bytes, MemoryTag::kPinned);
      rooms.push_back({gpu.device, std::move(pinned), std::move(*room)});
    }
    return rooms;
  }

  std::vector<IdleMemory::Holder> enrol_clips() {
    std::vector<IdleMemory::Holder> holders;
    for (std::size_t i = 0; i < device_clips_.size(); ++i) {
      DeviceClips* clips = device_clips_[i].clips.get();
      if (clips == nullptr) continue;
      holders.push_back(gpus_[i].governor->idle().add(
          [clips](std::uint64_t bytes) { return clips->bring_down(bytes); }));
    }
    return holders;
  }

  static std::vector<LaneDevice> decoding_gpus(const LoaderOptions& options,
                                               std::vector<LaneDevice> gpus) {
    return options.resource.decode == DecodeDevice::kCpu ? std::vector<LaneDevice>()
                                                         : std::move(gpus);
  }

  std::string stalled(std::chrono::seconds least) const {
    for (const auto& lane : lanes_) {
      if (std::string what = lane->stalled(least); !what.empty()) return what;
    }
    return {};
  }

  const LoaderOptions options_;
  const MemoryPlan plan_;
  const std::string rank_source_;
  const std::string domain_reason_;
  const std::string device_reason_;
  const LogCallback log_;
  const std::vector<LaneDevice> gpus_;
  std::mutex log_mutex_;
  const steady_clock::time_point opened_;
  std::atomic<std::int64_t> first_batch_{0};

  MemoryLedger ledger_;
  Counters counters_;
  BlockPool clips_;
  BlockPool packet_pages_;
  MemoryShare pinned_{ledger_, "pinned clips", plan_.pinned_bytes};
  Signal work_;
  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> keep_running_{
      loop_.get_executor()};
  Monitor monitor_;
  ReadService reading_;
  const std::vector<LaneClips> device_clips_;
  const std::unique_ptr<DecodeToolbox> toolbox_;
  // Behind the idle sessions, which the toolbox enrolled: of those a new one costs less.
  const std::vector<IdleMemory::Holder> clips_give_way_;
  DecodePool decoding_;
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::thread event_thread_;

  std::stop_source measuring_;
  std::once_flag measured_;
  std::optional<EpochLength> length_;

  std::mutex stop_mutex_;
  bool stopped_ = false;
  std::atomic<std::int64_t> closed_{0};  // not under the mutex: a log callback may ask for metrics
};

std::unique_ptr<Loader::Impl> Loader::Impl::make(const LoaderOptions& options,
                                                 const LoaderState* from, LogCallback log,
                                                 const std::stop_token& stop) {
  LoaderOptions asked = options;
  if (from != nullptr) adopt_decisions(from->json, asked).value();
  Resolved resolved = resolve(asked, process_environment(), ResolveTo::kRun, stop).value();
  ShardList shards = resolve_shards(asked).value();
  std::vector<LaneState> lanes;
  if (from != nullptr)
    lanes = read_state(from->json, resolved.options, resolved.plan, shards).value();
  const MemoryPlan& plan = resolved.plan;
  auto gpus = open_gpus(resolved.gpus, resolved.options).value();
  auto buffers = make_batch_buffers(plan.lanes, plan.on_gpus ? gpus : std::vector<LaneDevice>(),
                                    resolved.options, plan.batch_bytes, plan.lane_batches)
                     .value();
  auto impl = std::make_unique<Impl>(std::move(resolved), std::move(shards), std::move(gpus),
                                     std::move(buffers), std::move(log));
  impl->start(lanes);
  return impl;
}

Loader Loader::open(const LoaderOptions& options, LogCallback log, const std::stop_token& stop) {
  return Loader(Impl::make(options, nullptr, std::move(log), stop));
}
Loader Loader::open(const LoaderOptions& options, const LoaderState& from, LogCallback log,
                    const std::stop_token& stop) {
  return Loader(Impl::make(options, &from, std::move(log), stop));
}
void Loader::load_state_dict(const LoaderState& from) {
  impl_->stop();
  impl_ = Impl::make(impl_->options(), &from, impl_->log(), {});
}
LoaderState Loader::state_dict() const { return impl_->state(); }

Loader::Loader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Loader::Loader(Loader&&) noexcept = default;
Loader& Loader::operator=(Loader&&) noexcept = default;
Loader::~Loader() = default;

std::size_t Loader::lanes() const noexcept { return impl_->lanes().size(); }
std::optional<Batch> Loader::next(std::size_t lane) { return impl_->next(lane); }
bool Loader::wait(std::chrono::milliseconds most, std::size_t lane) {
  return impl_->lane(lane).wait(most);
}
void Loader::set_epoch(std::uint64_t epoch) {
  for (const auto& lane : impl_->lanes()) lane->set_epoch(epoch);
}

void Loader::set_epoch(std::uint64_t epoch, std::size_t lane) {
  impl_->lane(lane).set_epoch(epoch);
}
std::uint64_t Loader::epoch(std::size_t lane) const { return impl_->lane(lane).epoch(); }
std::optional<EpochSize> Loader::epoch_size(std::uint64_t epoch, std::size_t lane) const {
  return impl_->epoch_size(epoch, lane);
}
void Loader::stop() noexcept { impl_->stop(); }
std::uint64_t Loader::release_gpu() { return impl_->release_gpu(); }
Metrics Loader::metrics() const { return impl_->metrics(); }
const LoaderOptions& Loader::options() const noexcept { return impl_->options(); }
const std::string& Loader::rank_source() const noexcept { return impl_->rank_source(); }

}  // namespace shardreel
