#include "loader/pipeline/rank.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <ostream>
#include <string>
#include <vector>

namespace shardreel {
namespace {

using Environment = std::map<std::string, std::string, std::less<>>;

EnvironmentLookup lookup(const Environment& environment) {
  return [environment](std::string_view name) -> std::optional<std::string> {
    const auto found = environment.find(name);
    if (found == environment.end()) return std::nullopt;
    return found->second;
  };
}

struct Case {
  std::string name;
  Environment environment;
  std::optional<std::uint32_t> rank, world_size;  // the options
  std::uint32_t want_rank = 0, want_world_size = 1;
  std::string want_source;  // a part of the sentence
  std::optional<std::uint32_t> want_local_rank{}, want_local_world_size{};
};

void PrintTo(const Case& tested, std::ostream* out) { *out << tested.name; }

class RankTest : public ::testing::TestWithParam<Case> {};

TEST_P(RankTest, Decides) {
  const Case& tested = GetParam();
  const auto decided = decide_rank(tested.rank, tested.world_size, lookup(tested.environment));
  ASSERT_TRUE(decided) << decided.error().message;
  EXPECT_EQ(decided->rank, tested.want_rank);
  EXPECT_EQ(decided->world_size, tested.want_world_size);
  EXPECT_EQ(decided->local_rank, tested.want_local_rank);
  EXPECT_EQ(decided->local_world_size, tested.want_local_world_size);
  EXPECT_THAT(decided->source, ::testing::HasSubstr(tested.want_source));
  EXPECT_THAT(decided->source, ::testing::StartsWith(fmt::format("rank {} of {}", tested.want_rank,
                                                                 tested.want_world_size)));
}

const Environment kTorchrun{
    {"RANK", "5"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "4"}};
const Environment kMpirun{{"OMPI_COMM_WORLD_RANK", "2"},
                          {"OMPI_COMM_WORLD_SIZE", "4"},
                          {"OMPI_COMM_WORLD_LOCAL_RANK", "0"},
                          {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                          {"PMIX_RANK", "2"}};
const Environment kSrun{{"SLURM_STEP_ID", "0"},          {"SLURM_PROCID", "3"},
                        {"SLURM_NTASKS", "4"},           {"SLURM_LOCALID", "0"},
                        {"SLURM_TASKS_PER_NODE", "3,1"}, {"SLURM_NODEID", "1"}};
const Environment kBatchScript{{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}};

Environment both(Environment first, const Environment& second) {
  first.insert(second.begin(), second.end());
  return first;
}

std::vector<Case> cases() {
  return {
      {"nothing", {}, {}, {}, 0, 1, "single process"},
      {"torchrun", kTorchrun, {}, {}, 5, 8, "RANK and WORLD_SIZE", 1, 4},
      {"mpirun", kMpirun, {}, {}, 2, 4, "OMPI_COMM_WORLD_RANK", 0, 2},
      {"srun", kSrun, {}, {}, 3, 4, "SLURM_PROCID", 0, 1},
      {"batch_script_is_no_rank", kBatchScript, {}, {}, 0, 1, "single process"},
      // Under salloc, every mpirun process sees a SLURM_PROCID that is not its rank.
      {"mpirun_in_slurm", both(kMpirun, kSrun), {}, {}, 2, 4, "OMPI_COMM_WORLD_RANK", 0, 2},
      {"torchrun_in_srun", both(kTorchrun, kSrun), {}, {}, 5, 8, "RANK and WORLD_SIZE", 1, 4},
      {"mpich", {{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}, {}, {}, 1, 2, "PMI_RANK"},
      {"pmix_with_size", {{"PMIX_RANK", "1"}, {"PMIX_SIZE", "2"}}, {}, {}, 1, 2, "PMIX_RANK"},
      {"srun_with_pmix", both(kSrun, {{"PMIX_RANK", "3"}}), {}, {}, 3, 4, "SLURM_PROCID", 0, 1},
      {"options_win", kTorchrun, 0, 2, 0, 2, "options"},
      {"options_agree", kTorchrun, 5, 8, 5, 8, "options", 1, 4},
      {"options_alone", {}, 1, 3, 1, 3, "options"},
      // The options settle it, whatever nonsense the environment holds.
      {"options_over_nonsense", {{"RANK", "x"}}, 1, 3, 1, 3, "options"},
      {"slurm_repeats",
       {{"SLURM_STEP_ID", "0"},
        {"SLURM_PROCID", "4"},
        {"SLURM_NTASKS", "7"},
        {"SLURM_LOCALID", "0"},
        {"SLURM_TASKS_PER_NODE", "2(x3),1"},
        {"SLURM_NODEID", "2"}},
       {},
       {},
       4,
       7,
       "SLURM_PROCID",
       0,
       2},
  };
}

INSTANTIATE_TEST_SUITE_P(Sources, RankTest, ::testing::ValuesIn(cases()),
                         [](const auto& tested) { return tested.param.name; });

struct Refusal {
  std::string name;
  Environment environment;
  std::optional<std::uint32_t> rank, world_size;
  std::string names;  // what the message must name
};

void PrintTo(const Refusal& tested, std::ostream* out) { *out << tested.name; }

class RankRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(RankRefusalTest, Refuses) {
  const Refusal& tested = GetParam();
  const auto decided = decide_rank(tested.rank, tested.world_size, lookup(tested.environment));
  ASSERT_FALSE(decided) << decided->source;
  EXPECT_EQ(decided.error().code, ErrorCode::kInvalidOption);
  EXPECT_THAT(decided.error().message, ::testing::HasSubstr(tested.names));
}

std::vector<Refusal> refusals() {
  return {
      {"rank_not_below", {{"RANK", "4"}, {"WORLD_SIZE", "4"}}, {}, {}, "rank 4 of 4"},
      {"world_of_none", {{"RANK", "0"}, {"WORLD_SIZE", "0"}}, {}, {}, "rank 0 of 0"},
      {"rank_alone", {{"RANK", "0"}}, {}, {}, "WORLD_SIZE"},
      {"size_alone", {{"WORLD_SIZE", "2"}}, {}, {}, "without RANK"},
      // A broken first source is refused, although a later one is whole.
      {"half_before_whole", both(kMpirun, {{"RANK", "1"}}), {}, {}, "WORLD_SIZE"},
      {"text", {{"RANK", "one"}, {"WORLD_SIZE", "2"}}, {}, {}, "'one'"},
      {"negative", {{"RANK", "-1"}, {"WORLD_SIZE", "2"}}, {}, {}, "'-1'"},
      {"empty", {{"RANK", ""}, {"WORLD_SIZE", "2"}}, {}, {}, "RANK is ''"},
      {"trailing", {{"RANK", "1 "}, {"WORLD_SIZE", "2"}}, {}, {}, "'1 '"},
      {"too_large", {{"RANK", "1"}, {"WORLD_SIZE", "4294967296"}}, {}, {}, "4294967296"},
      {"local_above_world",
       {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", "0"}, {"LOCAL_WORLD_SIZE", "4"}},
       {},
       {},
       "local rank 0 of 4"},
      {"local_rank_not_below",
       {{"RANK", "0"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "2"}, {"LOCAL_WORLD_SIZE", "2"}},
       {},
       {},
       "local rank 2 of 2"},
      {"pmix_rank_alone", {{"PMIX_RANK", "1"}}, {}, {}, "PMIX_RANK"},
      {"slurm_half", {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}}, {}, {}, "SLURM_NTASKS"},
      {"option_rank_alone", {}, 1, {}, "world_size"},
      {"option_size_alone", kTorchrun, {}, 8, "without rank"},
      {"option_rank_not_below", {}, 2, 2, "rank 2 of 2"},
  };
}

INSTANTIATE_TEST_SUITE_P(Sources, RankRefusalTest, ::testing::ValuesIn(refusals()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace shardreel
