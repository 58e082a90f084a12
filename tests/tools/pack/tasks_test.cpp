#include "tools/pack/tasks.h"

#include <gtest/gtest.h>

#include <map>

namespace shardreel::tools {
namespace {

using Variables = std::map<std::string, std::string, std::less<>>;

Result<TaskDecision> decide(const Variables& variables, std::optional<std::uint32_t> index = {},
                            std::optional<std::uint32_t> count = {}) {
  return decide_task(index, count, [&](std::string_view name) -> std::optional<std::string> {
    const auto at = variables.find(name);
    if (at == variables.end()) return std::nullopt;
    return at->second;
  });
}

Variables array(const char* id, const char* least, const char* most, const char* count,
                const char* step) {
  return {{"SLURM_ARRAY_TASK_ID", id},
          {"SLURM_ARRAY_TASK_MIN", least},
          {"SLURM_ARRAY_TASK_MAX", most},
          {"SLURM_ARRAY_TASK_COUNT", count},
          {"SLURM_ARRAY_TASK_STEP", step}};
}

void expect(const Result<TaskDecision>& decision, std::uint32_t index, std::uint32_t count) {
  ASSERT_TRUE(decision) << decision.error().message;
  EXPECT_EQ(decision->index, index);
  EXPECT_EQ(decision->count, count);
  EXPECT_FALSE(decision->alone);
}

TEST(PackTasks, OptionsWinOverEverything) {
  expect(decide(array("5", "3", "7", "3", "2"), 1, 2), 1, 2);
  expect(decide({}, 0, 1), 0, 1);
  EXPECT_FALSE(decide({}, 2, 2));
  EXPECT_FALSE(decide({}, 0, 0));
  EXPECT_FALSE(decide({}, 0, std::nullopt));
  EXPECT_FALSE(decide({}, std::nullopt, 3));
}

TEST(PackTasks, SlurmArraysAndRanksMultiply) {
  EXPECT_TRUE(decide({}).value().alone);
  // As seen in an array 3-7:2.
  expect(decide(array("3", "3", "7", "3", "2")), 0, 3);
  expect(decide(array("7", "3", "7", "3", "2")), 2, 3);
  Variables both = array("1", "0", "1", "2", "1");
  both["OMPI_COMM_WORLD_RANK"] = "2";
  both["OMPI_COMM_WORLD_SIZE"] = "4";
  expect(decide(both), 6, 8);
  expect(decide({{"OMPI_COMM_WORLD_RANK", "2"}, {"OMPI_COMM_WORLD_SIZE", "4"}}), 2, 4);
  // A batch script without a step: its rank means nothing.
  EXPECT_TRUE(decide({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).value().alone);
  EXPECT_TRUE(decide({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).value().alone);
}

TEST(PackTasks, RefusesWhatItCannotPlace) {
  EXPECT_FALSE(decide(array("5", "0", "5", "3", "1")));  // --array=0,1,5
  EXPECT_FALSE(decide(array("x", "0", "5", "6", "1")));
  EXPECT_FALSE(decide(array("4", "3", "7", "3", "2")));
  EXPECT_FALSE(decide(array("9", "3", "7", "3", "2")));
  EXPECT_FALSE(decide({{"SLURM_ARRAY_TASK_ID", "1"}}));
  EXPECT_FALSE(decide({{"RANK", "1"}}));
}

}  // namespace
}  // namespace shardreel::tools
