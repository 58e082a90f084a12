// Who decodes changes nothing: whatever a (virtual) GPU refuses, and when, the same clips come in
// the same order, and show what they should.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "loader/decode/placed_decoder.h"
#include "loader/device/host_device.h"
#include "loader/media/device_frame_converter.h"
#include "loader/pipeline/decode_tools.h"
#include "loader/pipeline/device_watch.h"
#include "shardreel/units.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/virtual_gpu.h"

namespace shardreel {
namespace {

using testing::expect_accounted;

/// What a virtual GPU does in one run.
struct Schedule {
  std::uint64_t seed = 0;
  double refused_kinds = 0;         ///< part of the kinds that it does not take
  double out_of_memory = 0;         ///< part of the attempts that find no memory
  double errors = 0;                ///< part of the attempts that fail in the middle
  bool others_come_and_go = false;  ///< who take most of its memory
  bool releases = false;            ///< by the trainer, at any time
  bool idle_is_in_the_way = false;  ///< no allocation succeeds while a session lies idle
  bool proves = false;              ///< as `decode = auto` does
  int luma_error = 0;               ///< of its pictures
  std::uint64_t reserve = 1_MiB;
  std::uint32_t sessions = 2;
  SessionSplitOptions split;
};

/// A GPU for all decode threads, and what was asked of it.
class VirtualGpu {
 public:
  explicit VirtualGpu(const Schedule& schedule)
      : schedule_(schedule), random_(schedule.seed), device_(HostDevice::make(0, {1_GiB, true})) {
    GovernorOptions rules;
    rules.budget_bytes = 1_GiB;
    rules.reserve_bytes = schedule.reserve;
    rules.window = std::chrono::milliseconds(5);
    rules.dwell = std::chrono::milliseconds(2);
    rules.cool_down = std::chrono::milliseconds(1);
    rules.longest_cool_down = std::chrono::milliseconds(8);
    governor_ = std::make_shared<Governor>(rules);
    governor_->reading(governor_now(), 1_GiB);
    PlacementOptions options;
    options.sessions.first = schedule.sessions;
    options.reading_every = std::chrono::milliseconds(0);
    options.split = schedule.split;
    placement_ = std::make_unique<Placement>(device_, governor_, options);
    watch_.emplace([this] { placement_->look(); }, std::chrono::milliseconds(1));
  }

  DecodeTools tools(const ToolboxContext& context) {
    auto stream = device_->make_stream().value();
    DeviceWay way;
    way.reads = stream;
    way.ready = device_->make_event().value();
    way.make = [this, stream]() -> Result<SessionDecoder> {
      return SessionDecoder{
          testing::make_virtual_gpu_decoder(
              device_, stream, [this](const StreamParameters& of) { return end_of(of); },
              schedule_.luma_error),
          stream};
    };
    auto converter =
        make_device_frame_converter(device_, stream, &testing::virtual_gpu_layout,
                                    context.options.transform, context.options.window.num_frames)
            .value();
    PlacedRules rules;
    rules.only_device = context.options.resource.decode == DecodeDevice::kCuda;
    if (schedule_.proves)
      rules.proof = std::make_unique<PixelProof>(*converter, context.options.transform);
    rules.warn = [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      warnings_.push_back(line);
    };
    rules.placed = [&counters = context.counters](DecodePath path, std::size_t clips) {
      counters.decoded_by[static_cast<std::size_t>(path)] += clips;
    };
    return {make_placed_decoder(*placement_, std::move(way), make_cpu_decoder(), std::move(rules)),
            std::move(converter)};
  }

  [[nodiscard]] HostDevice& device() { return *device_; }
  [[nodiscard]] Placement& placement() { return *placement_; }
  std::uint64_t release() { return governor_->step_back(governor_now()); }
  /// While nobody decodes: what was granted is what idle sessions hold, and after a release nothing
  /// is held.
  void expect_conservation() {
    watch_.reset();
    const Placement::Gauges idle = placement_->gauges();
    EXPECT_EQ(idle.at_work, 0U);
    EXPECT_EQ(governor_->gauges(governor_now()).granted, idle.idle_bytes);
    EXPECT_EQ(settled_bytes(idle.idle * testing::kVirtualSessionBytes),
              idle.idle * testing::kVirtualSessionBytes);
    EXPECT_EQ(release(), idle.idle_bytes);
    EXPECT_EQ(governor_->gauges(governor_now()).granted, 0U);
    EXPECT_EQ(placement_->gauges().idle, 0U);
    EXPECT_EQ(settled_bytes(0), 0U) << "frames, scratch and sessions are back";
  }
  /// Of the device, once its streams have come to what was freed.
  std::uint64_t settled_bytes(std::uint64_t expected) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (device_->allocated_bytes() != expected && std::chrono::steady_clock::now() < deadline)
      std::this_thread::yield();
    return device_->allocated_bytes();
  }
  /// While nobody decodes.
  [[nodiscard]] const std::map<std::string, int>& attempts() const { return attempts_; }
  [[nodiscard]] std::uint64_t most_at_work() const { return most_at_work_; }
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
  [[nodiscard]] const Schedule& schedule() const { return schedule_; }
  std::uint64_t random_below(std::uint64_t n) {
    const std::lock_guard lock(mutex_);
    return random_() % n;
  }
  [[nodiscard]] bool remembers_refusals() const {
    return placement_->refused_kinds() == refused_attempts_.size();
  }
  /// The most attempts that any refused kind cost.
  [[nodiscard]] int attempts_of_a_refused_kind() const {
    int most = 0;
    for (const auto& [kind, attempts] : refused_attempts_) most = std::max(most, attempts);
    return most;
  }

 private:
  bool chance(double part) { return std::uniform_real_distribution<>()(random_) < part; }

  std::optional<testing::ScriptedEnd> end_of(const StreamParameters& parameters) {
    const std::lock_guard lock(mutex_);
    const std::string kind = session_need(parameters)->kind;
    ++attempts_[kind];
    most_at_work_ = std::max(most_at_work_, placement_->gauges().at_work);
    std::mt19937_64 of_kind(std::hash<std::string>()(kind) ^ schedule_.seed);
    if (std::uniform_real_distribution<>()(of_kind) < schedule_.refused_kinds) {
      ++refused_attempts_[kind];
      return testing::ScriptedEnd{{.code = ErrorCode::kUnsupported, .message = "not this kind"}, 0};
    }
    if (schedule_.others_come_and_go)
      device_->set_other_use(chance(0.5) ? 0 : 1_GiB - schedule_.reserve);
    if (schedule_.idle_is_in_the_way && placement_->gauges().idle > 0)
      return testing::ScriptedEnd{device_error(DeviceFault::kOutOfMemory, "no room beside it"), 0};
    const std::uint64_t behind = random_() % 20;
    if (chance(schedule_.out_of_memory)) {
      return testing::ScriptedEnd{device_error(DeviceFault::kOutOfMemory, "somebody was faster"),
                                  behind};
    }
    if (chance(schedule_.errors)) {
      return testing::ScriptedEnd{
          {.code = ErrorCode::kDecodeError, .message = "it does not like this"}, behind};
    }
    return std::nullopt;
  }

  const Schedule schedule_;
  std::mutex mutex_;
  std::mt19937_64 random_;
  std::map<std::string, int> refused_attempts_;
  std::map<std::string, int> attempts_;
  std::uint64_t most_at_work_ = 0;
  std::vector<std::string> warnings_;
  std::shared_ptr<HostDevice> device_;
  std::shared_ptr<Governor> governor_;
  std::unique_ptr<Placement> placement_;
  std::optional<DeviceWatch> watch_;
};

class VirtualToolbox final : public DecodeToolbox {
 public:
  VirtualToolbox(ToolboxContext context, VirtualGpu& gpu)
      : context_(std::move(context)), gpu_(gpu) {}
  DecodeTools make(std::size_t /*thread*/) override { return gpu_.tools(context_); }
  void write_to(Metrics& metrics) const override {
    add_sessions(gpu_.placement().gauges(), metrics);
  }

 private:
  const ToolboxContext context_;
  VirtualGpu& gpu_;
};

struct Outcome {
  std::vector<ClipId> clips;
  Metrics metrics;
};

class PlacementTest : public testing::NumberedShardsTest {
 protected:
  void TearDown() override { replace_decode_toolbox(nullptr); }

  static Outcome run(const LoaderOptions& options, VirtualGpu* gpu) {
    if (gpu == nullptr) {
      replace_decode_toolbox(nullptr);
    } else {
      replace_decode_toolbox([gpu](ToolboxContext context) {
        return std::make_unique<VirtualToolbox>(std::move(context), *gpu);
      });
    }
    Outcome run;
    Loader loader = Loader::open(options);
    // A trainer that runs short of memory now and then.
    std::jthread trainer;
    if (gpu != nullptr && gpu->schedule().releases) {
      trainer = std::jthread([gpu](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          gpu->release();
          std::this_thread::sleep_for(std::chrono::microseconds(gpu->random_below(4000)));
        }
      });
    }
    while (const auto batch = loader.next()) {
      for (std::size_t i = 0; i < batch->size(); ++i) {
        EXPECT_EQ(testing::check_numbered_clip(*batch, i), "");
        run.clips.push_back(batch->clips[i].id);
      }
    }
    loader.stop();
    trainer = {};
    run.metrics = loader.metrics();
    expect_accounted(run.metrics);
    return run;
  }
};

std::uint64_t all_of(const std::map<std::string, std::uint64_t>& counts) {
  std::uint64_t sum = 0;
  for (const auto& [name, count] : counts) sum += count;
  return sum;
}

TEST_F(PlacementTest, AGpuThatTakesEverythingDecodesAlmostEverything) {
  const LoaderOptions options = testing::small_options(shards_->paths);
  const Outcome on_cpu = run(options, nullptr);
  VirtualGpu gpu({.sessions = 8});
  const Outcome on_gpu = run(options, &gpu);
  EXPECT_EQ(on_gpu.clips, on_cpu.clips);
  EXPECT_TRUE(on_cpu.metrics.clips_by_decoder.empty());
  EXPECT_EQ(all_of(on_gpu.metrics.clips_by_decoder), on_gpu.metrics.clips_cut);
  // Others go to the CPU while the first video of a kind is tried.
  EXPECT_GT(on_gpu.metrics.clips_by_decoder.at("device"), on_gpu.metrics.clips_cut / 2);
  // Videos were made in four ways, and two are decoded at a time.
  EXPECT_LE(on_gpu.metrics.gpu_sessions.at("made"), 8U);
  EXPECT_GT(on_gpu.metrics.gpu_sessions.at("used_again"), 8U);
  EXPECT_EQ(on_gpu.metrics.gpu_sessions.at("given_back"), 0U);
  EXPECT_GT(on_gpu.metrics.gpu_sessions.at("idle"), 0U);
  gpu.expect_conservation();
}

TEST_F(PlacementTest, AnAllocationThatFailsIsTriedAgainWithoutWhatLiesIdle) {
  LoaderOptions options = testing::small_options(shards_->paths);
  options.resource.decode_threads = 1;
  VirtualGpu gpu({.idle_is_in_the_way = true, .sessions = 8});
  const Outcome got = run(options, &gpu);
  EXPECT_EQ(got.metrics.clips_by_decoder.count("cpu_no_memory"), 0U);
  EXPECT_EQ(got.metrics.clips_by_decoder.at("device"), got.metrics.clips_cut);
  EXPECT_GT(got.metrics.gpu_sessions.at("given_back"), 3U);
  gpu.expect_conservation();
}

TEST_F(PlacementTest, SessionsStayWithPlacementUntilTheyAreReleased) {
  VirtualGpu gpu({.sessions = 2});
  StreamParameters video;
  video.codec.reset(avcodec_parameters_alloc());
  video.codec->codec_id = AV_CODEC_ID_H264;
  video.codec->width = video.codec->height = 64;
  Placement& placement = gpu.placement();
  const auto let_in = [&] {
    auto session = std::move(placement.admit(video).session).value();
    session.worked(session.decoder().decoder ? 0 : 1);
    if (!session.decoder().decoder) session.decoder().decoder = make_cpu_decoder();
    return session;
  };
  let_in().keep();
  EXPECT_EQ(placement.gauges().idle, 1U);
  {
    auto first = let_in(), second = let_in();
    EXPECT_EQ(placement.gauges().used_again, 1U);
    EXPECT_EQ(placement.gauges().at_work, 2U);
    EXPECT_EQ(placement.admit(video).otherwise, DecodePath::kCpuNoSession);
    first.keep();
    EXPECT_EQ(placement.gauges().idle, 1U);
    EXPECT_GT(gpu.release(), 0U);
    EXPECT_EQ(placement.gauges().idle, 0U);
    second.keep();  // it was at work then
    EXPECT_EQ(placement.gauges().idle, 0U);
  }
  EXPECT_EQ(placement.admit(video).otherwise, DecodePath::kCpuNoMemory) << "not at once";
  gpu.expect_conservation();
}

TEST_F(PlacementTest, NoMoreSessionsAreAtWorkThanAreWorthIt) {
  VirtualGpu gpu({.sessions = 8, .split = {.most = 1}});
  LoaderOptions options = testing::small_options(shards_->paths);
  options.resource.decode_threads = 4;
  const Outcome got = run(options, &gpu);
  EXPECT_EQ(got.metrics.gpu_sessions.at("most_at_work"), 1U);
  EXPECT_EQ(gpu.most_at_work(), 1U);
  EXPECT_GT(got.metrics.clips_by_decoder.at("cpu_no_session"), 0U) << "beside it";
  EXPECT_GT(got.metrics.clips_by_decoder.at("device"), 0U);
  EXPECT_GT(got.metrics.decode_costs.at("cpu_megapixel"), 0);
  EXPECT_GT(got.metrics.decode_costs.at("gpu_megapixel"), 0);
  EXPECT_GT(got.metrics.decode_costs.at("session_start"), 0);
  gpu.expect_conservation();
}

TEST_F(PlacementTest, WhatLiesIdleGoesWhenOthersNeedItThoughNobodyDecodes) {
  VirtualGpu gpu({.reserve = 100_MiB, .sessions = 8});
  const Outcome got = run(testing::small_options(shards_->paths), &gpu);
  ASSERT_GT(got.metrics.gpu_sessions.at("idle"), 1U);
  gpu.device().set_other_use(1_GiB - 1_MiB);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (gpu.placement().gauges().idle > 0 && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  EXPECT_GT(gpu.placement().gauges().given_back, 1U);
  gpu.expect_conservation();
}

TEST_F(PlacementTest, APictureThatIsRightIsBelievedFromTheSecondUnitOn) {
  LoaderOptions options = testing::small_options(shards_->paths);
  options.resource.decode_threads = 1;  // nobody meets a kind that is being tried
  const Outcome on_cpu = run(options, nullptr);
  VirtualGpu gpu({.proves = true, .sessions = 8});
  const Outcome got = run(options, &gpu);
  EXPECT_EQ(got.clips, on_cpu.clips);
  EXPECT_THAT(gpu.warnings(), ::testing::IsEmpty());
  EXPECT_GT(got.metrics.clips_by_decoder.at("cpu_unproven"), 0U) << "the first of each kind";
  EXPECT_GT(got.metrics.clips_by_decoder.at("device"), got.metrics.clips_cut / 2);
  EXPECT_EQ(all_of(got.metrics.clips_by_decoder), got.metrics.clips_cut);
  gpu.expect_conservation();
}

TEST_F(PlacementTest, APictureThatIsWrongIsFoundOutAndNeverShown) {
  LoaderOptions options = testing::small_options(shards_->paths);
  options.resource.decode_threads = 1;
  for (const int luma_error : {10, -10}) {
    VirtualGpu gpu({.proves = true, .luma_error = luma_error, .sessions = 8});
    const Outcome got = run(options, &gpu);  // looks at every clip
    EXPECT_EQ(got.metrics.clips_by_decoder.count("device"), 0U);
    EXPECT_GT(got.metrics.clips_by_decoder.at("cpu_unproven"), got.metrics.clips_cut / 2);
    EXPECT_EQ(gpu.attempts().size(), gpu.warnings().size());
    for (const auto& [kind, attempts] : gpu.attempts()) {
      EXPECT_EQ(attempts, 1) << kind;
      EXPECT_THAT(gpu.warnings(), ::testing::Contains(::testing::HasSubstr(kind)));
    }
    EXPECT_THAT(gpu.warnings(), ::testing::Each(::testing::HasSubstr("up to 12 levels")));
    gpu.expect_conservation();
  }
}

TEST_F(PlacementTest, AnyScheduleOfRefusalsGivesTheSameClips) {
  std::mt19937_64 random(testing::test_seed());
  for (const ShuffleDomain domain : {ShuffleDomain::kFrames, ShuffleDomain::kPackets}) {
    LoaderOptions options = testing::small_options(shards_->paths);
    options.resource.shuffle_domain = domain;
    options.window.window_stride = 5;  // windows that overlap: frames go to several clips
    const Outcome want = run(options, nullptr);
    for (std::uint64_t round = 0; round < testing::rounds(200); ++round) {
      Schedule schedule;
      schedule.seed = random();
      // Every mixture of troubles, in turn.
      schedule.refused_kinds = (round & 1) != 0 ? 0.5 : 0;
      schedule.out_of_memory = (round & 2) != 0 ? 0.3 : 0;
      schedule.errors = (round & 4) != 0 ? 0.3 : 0;
      schedule.others_come_and_go = random() % 3 == 0;
      schedule.releases = random() % 3 == 0;
      schedule.proves = random() % 2 == 0;
      schedule.sessions = 1 + static_cast<std::uint32_t>(random() % 4);
      // Trials all the time.
      schedule.split.most = static_cast<std::uint32_t>(random() % 5);
      schedule.split.period = schedule.split.rest = std::chrono::microseconds(300);
      schedule.split.units = 1;
      VirtualGpu gpu(schedule);
      options.resource.decode_threads = 1 + random() % 4;
      const Outcome got = run(options, &gpu);
      ASSERT_EQ(got.clips, want.clips) << "schedule " << schedule.seed;
      EXPECT_EQ(got.metrics.samples, want.metrics.samples);
      EXPECT_EQ(got.metrics.samples_complete, want.metrics.samples_complete);
      EXPECT_EQ(all_of(got.metrics.clips_by_decoder), got.metrics.clips_cut);
      EXPECT_LE(gpu.attempts_of_a_refused_kind(), 1) << "schedule " << schedule.seed;
      EXPECT_TRUE(gpu.remembers_refusals()) << "schedule " << schedule.seed;
      gpu.expect_conservation();
    }
  }
}

TEST_F(PlacementTest, EveryTroubleIsCountedByItsName) {
  const LoaderOptions options = testing::small_options(shards_->paths);
  for (const auto& [schedule, way] :
       {std::pair{Schedule{.seed = 1, .refused_kinds = 1}, "cpu_refused_kind"},
        {Schedule{.seed = 2, .out_of_memory = 1}, "cpu_no_memory"},
        {Schedule{.seed = 3, .errors = 1}, "cpu_after_error"}}) {
    VirtualGpu gpu(schedule);
    const Outcome got = run(options, &gpu);
    EXPECT_GT(got.metrics.clips_by_decoder.at(way), 0U) << way;
    EXPECT_EQ(got.metrics.clips_by_decoder.count("device"), 0U) << way;
    EXPECT_EQ(all_of(got.metrics.clips_by_decoder), got.metrics.clips_cut) << way;
  }
}

TEST_F(PlacementTest, MemoryThatOthersTakeIsLeftToThem) {
  VirtualGpu gpu({.seed = 1, .reserve = 900_MiB});
  dynamic_cast<HostDevice&>(gpu.device()).set_other_use(200_MiB);
  const Outcome got = run(testing::small_options(shards_->paths), &gpu);
  EXPECT_EQ(got.metrics.clips_by_decoder.count("device"), 0U);
  EXPECT_EQ(all_of(got.metrics.clips_by_decoder), got.metrics.clips_cut);
}

TEST_F(PlacementTest, DecodeCudaCountsWhatTheGpuDoesNotTake) {
  LoaderOptions options = testing::small_options(shards_->paths);
  options.input.max_skip_ratio = 1;
  VirtualGpu gpu({.seed = 3, .refused_kinds = 1});
  replace_decode_toolbox([&gpu](ToolboxContext context) {
    // What `decode = cuda` makes of options, which asks for a real one.
    static LoaderOptions only_gpu;
    only_gpu = context.options;
    only_gpu.resource.decode = DecodeDevice::kCuda;
    return std::make_unique<VirtualToolbox>(
        ToolboxContext{only_gpu, context.counters, {}, context.warn}, gpu);
  });
  Loader loader = Loader::open(options);
  std::uint64_t clips = 0;
  try {
    while (const auto batch = loader.next()) clips += batch->size();
  } catch (const ShardreelError& error) {
    EXPECT_EQ(error.error().code, ErrorCode::kEmptyEpoch) << error.what();
  }
  loader.stop();
  const Metrics metrics = loader.metrics();
  EXPECT_GT(metrics.clips_dropped_by_reason.at("unsupported"), 0U);
  // Those that came while the first of their kind was tried, and what no device decodes.
  EXPECT_EQ(all_of(metrics.clips_by_decoder), metrics.clips);
  EXPECT_EQ(clips, metrics.clips);
}

}  // namespace
}  // namespace shardreel
