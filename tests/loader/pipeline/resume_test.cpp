// A run that is stopped anywhere and resumed gives what the uninterrupted run gives, clip for clip
// and byte for byte; states that do not fit are refused.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>

#include "shardreel/loader.h"
#include "tests/loader/pipeline/small_loader.h"
#include "tests/support/fault_server.h"
#include "tests/support/scratch.h"
#include "tests/support/test_shards.h"
#include "tools/commands/index_build.h"

namespace shardreel {
namespace {

using testing::make_numbered_shards;
using testing::NumberedShards;
using testing::ScratchDir;

struct Given {
  std::uint64_t epoch = 0, batch = 0;
  ClipId id;
  std::uint64_t pixels = 0;
  friend bool operator==(const Given&, const Given&) = default;
};
constexpr std::uint64_t kAll = UINT64_MAX;

/// The next `most` batches of a lane; ends of epochs are entries without a clip.
std::vector<Given> take(Loader& loader, std::size_t lane, std::uint64_t most = kAll) {
  std::vector<Given> given;
  const std::uint64_t epochs = loader.options().batch.epochs;
  for (std::uint64_t batches = 0; batches < most;) {
    const auto batch = loader.next(lane);
    if (!batch) {
      given.push_back({kAll, loader.epoch(lane), {}, 0});
      if (loader.epoch(lane) >= epochs) break;
      continue;
    }
    ++batches;
    for (std::size_t i = 0; i < batch->size(); ++i) {
      EXPECT_EQ(testing::check_numbered_clip(*batch, i), "");
      const auto bytes = batch->clip_bytes(i);
      given.push_back({batch->epoch, batch->index, batch->clips[i].id,
                       XXH3_64bits(bytes.data(), bytes.size())});
    }
  }
  return given;
}

std::uint64_t batches_in(const std::vector<Given>& given) {
  std::set<std::pair<std::uint64_t, std::uint64_t>> batches;
  for (const Given& clip : given) {
    if (clip.epoch != kAll) batches.emplace(clip.epoch, clip.batch);
  }
  return batches.size();
}

void stop_and_account(Loader& loader) {
  loader.stop();
  testing::expect_accounted(loader.metrics());
}

class ResumeTest : public testing::NumberedShardsTest {
 protected:
  static LoaderOptions options() {
    LoaderOptions options = testing::small_options(shards_->paths);
    options.window.window_stride = 5;
    options.batch.epochs = 2;
    return options;
  }
};

template <typename T>
T one_of(std::mt19937_64& random, std::initializer_list<T> values) {
  return values.begin()[random() % values.size()];
}

TEST_F(ResumeTest, StoppedAnywhereAndResumedIsTheUninterruptedRun) {
  std::mt19937_64 random(testing::test_seed());
  for (std::uint64_t round = 0; round < testing::rounds(200); ++round) {
    LoaderOptions all = options();
    all.batch.seed = random();
    all.resource.shuffle_domain = one_of(random, {ShuffleDomain::kFrames, ShuffleDomain::kPackets});
    all.window.windows_per_video = one_of(random, {0U, 0U, 1U, 3U});  // dense, and drawn ones
    all.window.window_stride = one_of(random, {0U, 3U, 5U});
    all.window.unit_clips = one_of(random, {1U, 3U, 32U});
    all.resource.shuffle_bytes = one_of<const char*>(random, {"100KiB", "300KiB", "1MiB", "16MiB"});
    all.resource.min_fill = one_of(random, {1U, 10U, 60U});
    all.input.open_shards = one_of(random, {1U, 2U, 4U});
    all.input.open_videos = one_of(random, {1U, 3U, 8U});
    all.batch.batch_size = one_of(random, {1U, 4U, 7U});
    all.batch.drop_last = random() % 2 == 0;
    all.batch.shuffle = one_of(random, {ShuffleMode::kAll, ShuffleMode::kAll, ShuffleMode::kAll,
                                        ShuffleMode::kShards, ShuffleMode::kNone});
    if (random() % 3 == 0) {  // fewer batches than the data gives, and more
      const std::uint64_t wanted = 1 + random() % 60;
      all.batch.batches_per_epoch = wanted;
    } else if (random() % 3 == 0) {  // a rank among more than there are shards
      all.batch.world_size = one_of(random, {2U, 7U});
      all.batch.rank = static_cast<std::uint32_t>(random() % std::min(*all.batch.world_size, 4U));
      all.batch.ranks = RankMode::kExact;
    }
    if (all.batch.batch_size == 7 && all.batch.world_size != 1U) all.batch.drop_last = false;
    const std::string about = fmt::format("round {}: {}", round, all.to_json());
    SCOPED_TRACE(about);

    Loader whole = Loader::open(all);
    const std::vector<Given> expected = take(whole, 0);
    stop_and_account(whole);

    // Twice stopped, perhaps at once after resuming; other threads and memory in between.
    std::vector<Given> got;
    std::optional<LoaderState> state;
    std::uint64_t left = batches_in(expected);
    for (int part = 0; part < 3; ++part) {
      LoaderOptions other = all;
      other.resource.decode_threads = one_of(random, {1U, 2U, 4U});
      other.input.reader_threads = one_of(random, {1U, 4U});
      Loader loader = state ? Loader::open(other, *state) : Loader::open(other);
      const std::uint64_t most = part == 2 ? kAll : random() % (left + 1);
      const auto taken = take(loader, 0, most);
      got.insert(got.end(), taken.begin(), taken.end());
      left -= std::min(left, batches_in(taken));
      if (random() % 2 == 0) loader.stop();
      state = loader.state_dict();
      stop_and_account(loader);
      if (got.size() == expected.size()) break;
    }
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_EQ(got[i], expected[i]) << "clip " << i;
  }
}

TEST_F(ResumeTest, LanesResumeEachWhereItStood) {
  LoaderOptions two = options();
  two.resource.devices = {"cpu:0", "cpu:1"};
  two.batch.ranks = RankMode::kExact;
  two.resource.shuffle_bytes = "2MiB";
  std::vector<std::vector<Given>> expected, got(2);
  {
    Loader loader = Loader::open(two);
    for (std::size_t lane : {0U, 1U}) expected.push_back(take(loader, lane));
  }
  Loader loader = Loader::open(two);
  got[0] = take(loader, 0, 3);
  got[1] = take(loader, 1, 9);
  const LoaderState state = loader.state_dict();
  take(loader, 0, 2);  // is forgotten
  loader.load_state_dict(state);
  for (std::size_t lane : {0U, 1U}) {
    const auto rest = take(loader, lane);
    got[lane].insert(got[lane].end(), rest.begin(), rest.end());
    EXPECT_EQ(got[lane], expected[lane]) << lane;
  }
}

TEST_F(ResumeTest, TheRunEndsWhereItWouldHave) {
  LoaderOptions three = options();
  three.batch.epochs = 3;
  // Two ends without a batch between them are the run's.
  const auto batches_to_the_end = [](Loader& loader) {
    std::uint64_t batches = 0;
    for (int ends = 0; ends < 2;) {
      ends = loader.next() ? 0 : ends + 1;
      batches += ends == 0 ? 1 : 0;
    }
    return batches;
  };
  Loader whole = Loader::open(three);
  const std::uint64_t all = batches_to_the_end(whole);
  for (const std::uint64_t before : {all / 6, all / 2, all - 1, all}) {
    Loader first = Loader::open(three);
    for (std::uint64_t taken = 0; taken < before;) taken += first.next() ? 1 : 0;
    Loader second = Loader::open(three, first.state_dict());
    EXPECT_EQ(before + batches_to_the_end(second), all);
  }
}

TEST_F(ResumeTest, AStateForgetsSamplesThatAreDone) {
  LoaderOptions few = options();
  few.input.open_videos = 2;
  few.window.unit_clips = 1;  // of what has several units progress is kept
  Loader loader = Loader::open(few);
  std::size_t most = 0;
  while (loader.next()) {
    const auto state = nlohmann::json::parse(loader.state_dict().json);
    most = std::max(most, state.at("lanes").at(0).at("samples").size());
  }
  EXPECT_GT(most, 0U);
  EXPECT_LE(most, 4U) << "of 20 samples, two at a time";
}

TEST_F(ResumeTest, AnotherEpochCanBeSetAfterResuming) {
  Loader reference = Loader::open(options());
  std::vector<Given> expected = take(reference, 0);
  std::erase_if(expected, [](const Given& clip) { return clip.epoch != 1; });
  Loader first = Loader::open(options());
  take(first, 0, 5);
  Loader second = Loader::open(options(), first.state_dict());
  second.set_epoch(1);
  std::vector<Given> got = take(second, 0);
  std::erase_if(got, [](const Given& clip) { return clip.epoch != 1; });
  EXPECT_EQ(got, expected);
}

TEST_F(ResumeTest, RefusesAStateThatDoesNotFitAndSaysWhatDiffers) {
  Loader loader = Loader::open(options());
  take(loader, 0, 3);
  const LoaderState state = loader.state_dict();
  const auto refusal = [&](const LoaderOptions& other, const LoaderState& from) -> std::string {
    try {
      Loader::open(other, from);
    } catch (const ShardreelError& error) {
      EXPECT_EQ(error.error().code, ErrorCode::kInvalidOption);
      return error.error().describe();
    }
    return "not refused";
  };
  LoaderOptions other = options();
  other.batch.seed = 3;
  other.window.num_frames = 4;
  EXPECT_THAT(refusal(other, state), ::testing::AllOf(::testing::HasSubstr("seed was 0 and is 3"),
                                                      ::testing::HasSubstr("num_frames")));
  other = options();
  other.batch.world_size = 3;
  other.batch.rank = 1;
  other.batch.ranks = RankMode::kExact;
  EXPECT_THAT(refusal(other, state), ::testing::AllOf(::testing::HasSubstr("world_size"),
                                                      ::testing::HasSubstr("rank was 0")));
  other = options();
  other.input.urls.pop_back();
  EXPECT_THAT(refusal(other, state), ::testing::HasSubstr("number of shards"));
  std::swap(other.input.urls[0], other.input.urls[1]);
  other.input.urls.push_back(options().input.urls.back());
  EXPECT_THAT(refusal(other, state), ::testing::HasSubstr("other names"));
  other = options();
  other.resource.devices = {"cpu:0", "cpu:1"};
  other.batch.ranks = RankMode::kExact;
  EXPECT_THAT(refusal(other, state), ::testing::HasSubstr("lanes"));
  other = options();
  other.transform.flip = 0.5;
  EXPECT_THAT(refusal(other, state), ::testing::HasSubstr("flip"));
  for (const char* text : {"", "{}", "[]", "{\"shardreel_state\": 2}", "{\"shardreel_state\": 1}"})
    EXPECT_THAT(refusal(options(), {text}), ::testing::HasSubstr("state")) << text;
}

// A state of a program that did not have an option yet, nor counted lost clips.
TEST_F(ResumeTest, AStateOfBeforeAnOptionRanWithItsDefault) {
  Loader loader = Loader::open(options());
  take(loader, 0, 5);
  auto json = nlohmann::ordered_json::parse(loader.state_dict().json);
  ASSERT_EQ(json.at("options").erase("sample_aspect"), 1U);
  for (auto& lane : json.at("lanes")) ASSERT_EQ(lane.at("counts").erase("clips_lost"), 1U);
  const LoaderState older{json.dump()};
  Loader resumed = Loader::open(options(), older);
  EXPECT_EQ(take(resumed, 0), take(loader, 0));
  LoaderOptions other = options();
  other.transform.sample_aspect = SampleAspect::kApply;
  try {
    Loader::open(other, older);
    FAIL() << "not refused";
  } catch (const ShardreelError& error) {
    EXPECT_THAT(error.error().describe(), ::testing::HasSubstr("sample_aspect was \"ignore\""));
  }
}

// The shards are not those any more, though they are named so: an error, no other clips.
TEST_F(ResumeTest, ChangedShardsEndTheRun) {
  ScratchDir dir;
  NumberedShards shards = make_numbered_shards(dir, 2, 8);
  LoaderOptions all = options();
  all.input.urls = shards.paths;
  Loader loader = Loader::open(all);
  take(loader, 0, 3);
  const LoaderState state = loader.state_dict();
  loader.stop();
  for (const std::string& path : shards.paths) std::ofstream(path, std::ios::trunc).flush();
  Loader resumed = Loader::open(all, state);
  try {
    take(resumed, 0);
    FAIL() << "resumed from empty shards";
  } catch (const ShardreelError& error) {
    EXPECT_THAT(error.error().describe(), ::testing::HasSubstr("does not fit"));
  }
}

/// What a loader that goes on with this state says; empty when it runs to its end.
std::string end_of(const LoaderOptions& options, const LoaderState& state) {
  try {
    Loader loader = Loader::open(options, state);
    while (loader.next() || loader.epoch() < options.batch.epochs) {
    }
    return {};
  } catch (const ShardreelError& error) {
    EXPECT_EQ(error.error().code, ErrorCode::kInvalidOption);
    return error.error().describe();
  }
}

std::string without_contents(const std::string& state) {
  auto json = nlohmann::json::parse(state);
  EXPECT_FALSE(json.at("shards").at("contents").empty());
  json.at("shards").erase("contents");
  return json.dump();
}

// A shard that was written anew under its name has samples and windows of the same numbers: only
// its content tells.
TEST_F(ResumeTest, AShardThatWasWrittenAnewIsNoticed) {
  for (const bool indexed : {false, true}) {
    SCOPED_TRACE(indexed);
    ScratchDir dir, other;
    const NumberedShards shards = make_numbered_shards(dir, 2, 8);
    const NumberedShards others = make_numbered_shards(other, 1, 9);
    for (const std::string& path : shards.paths) {
      if (!indexed) continue;
      const tools::IndexBuildOptions build{.video_fields = InputOptions().video_fields};
      ASSERT_EQ(tools::index_shard(path, build, {}).state, tools::IndexState::kWritten);
    }
    LoaderOptions all = options();
    all.input.urls = shards.paths;
    Loader loader = Loader::open(all);
    take(loader, 0, 3);
    const LoaderState state = loader.state_dict();
    loader.stop();
    // A copy in its place, with other times, is the same shard.
    std::filesystem::copy_file(shards.paths[0], other / "copy.tar");
    std::filesystem::rename(other / "copy.tar", shards.paths[0]);
    std::filesystem::last_write_time(shards.paths[1],
                                     std::filesystem::file_time_type::clock::now());
    EXPECT_EQ(end_of(all, state), "");
    EXPECT_EQ(end_of(all, {without_contents(state.json)}), "") << "a state of an older program";
    const auto size = std::filesystem::file_size(shards.paths[0]);
    std::filesystem::copy_file(others.paths[0], shards.paths[0],
                               std::filesystem::copy_options::overwrite_existing);
    EXPECT_THAT(end_of(all, state),
                ::testing::AllOf(::testing::HasSubstr(shards.paths[0] + " was written anew"),
                                 ::testing::HasSubstr(fmt::format("{} bytes", size)),
                                 ::testing::HasSubstr(fmt::format(
                                     "{} bytes", std::filesystem::file_size(others.paths[0])))));
  }
}

TEST_F(ResumeTest, AnObjectThatWasWrittenAnewIsNoticed) {
  ScratchDir dir;
  const NumberedShards shards = make_numbered_shards(dir, 1, 8);
  std::ifstream file(shards.paths[0], std::ios::binary);
  const std::string content{std::istreambuf_iterator<char>(file), {}};
  std::atomic<bool> rewritten = false;
  testing::FaultServer server([&](const testing::SeenRequest& request) {
    return testing::range_reply(request, content, rewritten ? "\"two\"" : "\"one\"");
  });
  LoaderOptions all = options();
  all.input.urls = {server.url("/a.tar")};
  LoaderState state;
  {
    Loader loader = Loader::open(all);
    take(loader, 0, 3);
    state = loader.state_dict();
  }
  EXPECT_EQ(end_of(all, state), "");
  rewritten = true;
  EXPECT_THAT(end_of(all, state),
              ::testing::AllOf(::testing::HasSubstr("a.tar was written anew"),
                               ::testing::HasSubstr("ETag \"one\" when the state was taken"),
                               ::testing::HasSubstr("ETag \"two\" now")));
}

}  // namespace
}  // namespace shardreel
