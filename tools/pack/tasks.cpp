#include "tools/pack/tasks.h"

#include <fmt/format.h>

#include <charconv>
#include <string_view>
#include <utility>

namespace shardreel::tools {
namespace {

Error invalid(std::string message) {
  return Error{ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

/// A variable as a number; nothing when it is unset.
Result<std::optional<std::uint32_t>> number(const EnvironmentLookup& environment,
                                            std::string_view name) {
  const auto text = environment(name);
  if (!text) return std::optional<std::uint32_t>();
  std::uint32_t value = 0;
  const char* last = text->data() + text->size();
  const auto [end, status] = std::from_chars(text->data(), last, value);
  if (status != std::errc{} || end != last) {
    return invalid(fmt::format("{} is '{}', not a whole number", name, *text));
  }
  return std::optional(value);
}

struct Place {
  std::uint32_t index = 0, count = 1;
  bool there = false;
};

/// This element of a Slurm array: ids from MIN to MAX in steps of STEP.
Result<Place> array_place(const EnvironmentLookup& environment) {
  const auto id = number(environment, "SLURM_ARRAY_TASK_ID");
  const auto least = number(environment, "SLURM_ARRAY_TASK_MIN");
  const auto most = number(environment, "SLURM_ARRAY_TASK_MAX");
  const auto count = number(environment, "SLURM_ARRAY_TASK_COUNT");
  const auto step = number(environment, "SLURM_ARRAY_TASK_STEP");
  for (const auto* one : {&id, &least, &most, &count, &step}) {
    if (!*one) return one->error();
  }
  if (!*id) return Place{};
  if (!*count || !*least) {
    return invalid(
        "SLURM_ARRAY_TASK_ID is set without SLURM_ARRAY_TASK_COUNT and _MIN; give --task-index "
        "and --task-count");
  }
  const std::uint32_t apart = step->value_or(1);
  if (apart == 0 || **id < **least || (**id - **least) % apart != 0 ||
      (**id - **least) / apart >= **count) {
    return invalid(
        fmt::format("SLURM_ARRAY_TASK_ID {} is not one of {} ids from {} in steps of "
                    "{} (an array with gaps?); give --task-index and --task-count",
                    **id, **count, **least, apart));
  }
  // "--array=0,1,5" has three ids, MIN 0 and MAX 5: the places of its ids cannot be told.
  if (*most && **most != **least + (**count - 1) * apart) {
    return invalid(
        fmt::format("the Slurm array has {} ids from {} to {}, which are no even "
                    "steps; give --task-index and --task-count",
                    **count, **least, **most));
  }
  return Place{(**id - **least) / apart, **count, true};
}

}  // namespace

Result<TaskDecision> decide_task(std::optional<std::uint32_t> index,
                                 std::optional<std::uint32_t> count,
                                 const EnvironmentLookup& environment) {
  TaskDecision decision;
  if (index || count) {
    if (!index || !count) {
      return invalid("--task-index and --task-count belong together; give both or neither");
    }
    if (*count == 0 || *index >= *count) {
      return invalid(fmt::format("task {} of {}: the index is below the count", *index, *count));
    }
    return TaskDecision{*index, *count, false,
                        fmt::format("task {} of {} (--task-index, --task-count)", *index, *count)};
  }
  auto array = array_place(environment);
  if (!array) return std::move(array.error());
  auto rank = decide_rank({}, {}, environment);
  if (!rank) return std::move(rank.error());
  if (std::uint64_t{array->count} * rank->world_size > 1'000'000) {
    return invalid("more than a million tasks");
  }
  decision.index = array->index * rank->world_size + rank->rank;
  decision.count = array->count * rank->world_size;
  decision.alone = !array->there && rank->world_size == 1;
  decision.source = fmt::format("task {} of {} ({}{}{})", decision.index, decision.count,
                                array->there ? "SLURM_ARRAY_TASK_ID" : "",
                                array->there && rank->world_size > 1 ? "; " : "",
                                rank->world_size > 1 ? rank->source : "");
  return decision;
}

}  // namespace shardreel::tools
