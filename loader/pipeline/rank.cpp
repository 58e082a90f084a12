#include "loader/pipeline/rank.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <utility>

namespace shardreel {
namespace {

using Number = std::optional<std::uint32_t>;

/// The variables of one launcher; an empty name: it has none.
struct Launcher {
  std::string_view rank, world_size, local_rank, local_world_size;
  std::string_view only_with;  ///< a variable without which the others mean nothing
  /// A rank without a world size is normal for it: another launcher below may know both.
  bool may_lack_size = false;
};

// SLURM_PROCID is 0 in every process of a batch script, and wrong for mpirun and torchrun under
// Slurm; inside a step of srun, marked by SLURM_STEP_ID, it is the rank. PMIx sets PMIX_RANK alone.
constexpr std::array<Launcher, 5> kLaunchers{{
    {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "", false},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", "", false},
    {"PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", "", false},
    {"PMIX_RANK", "PMIX_SIZE", "PMIX_LOCAL_RANK", "PMIX_LOCAL_SIZE", "", true},
    {"SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "", "SLURM_STEP_ID", false},
}};

Error invalid(std::string message) {
  return Error{ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

Number parse_count(std::string_view text) {
  std::uint32_t number = 0;
  const char* last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, number);
  if (status != std::errc{} || end != last) return std::nullopt;
  return number;
}

/// Read a variable: nothing when it is unset, an error when it is no whole number.
Result<Number> read_count(const EnvironmentLookup& environment, std::string_view name) {
  const auto text = name.empty() ? std::nullopt : environment(name);
  if (!text) return Number{};
  const Number number = parse_count(*text);
  if (!number) return invalid(fmt::format("{} is '{}', not a whole number", name, *text));
  return number;
}

/// Tasks of this node out of Slurm's list "2(x3),1": so many on each of three nodes, then one.
Number slurm_tasks_here(const EnvironmentLookup& environment) {
  const auto node_text = environment("SLURM_NODEID");
  auto list = environment("SLURM_STEP_TASKS_PER_NODE");
  if (!list) list = environment("SLURM_TASKS_PER_NODE");
  const Number node = node_text ? parse_count(*node_text) : std::nullopt;
  if (!node || !list) return std::nullopt;
  std::uint64_t nodes_before = 0;
  std::string_view rest = *list;
  while (!rest.empty()) {
    std::string_view item = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(item.size() + 1, rest.size()));
    std::uint32_t repeats = 1;
    const std::size_t open = item.find("(x");
    if (open != std::string_view::npos && item.ends_with(')')) {
      const Number given = parse_count(item.substr(open + 2, item.size() - open - 3));
      if (!given) return std::nullopt;
      repeats = *given;
      item = item.substr(0, open);
    }
    nodes_before += repeats;
    if (*node < nodes_before) return parse_count(item);
  }
  return std::nullopt;
}

/// Check the facts of one source and word them. `names` is what the facts are called there.
Result<RankDecision> conclude(RankDecision decision, std::string_view names) {
  if (decision.world_size == 0 || decision.rank >= decision.world_size) {
    return invalid(fmt::format("{} say rank {} of {}; a rank is below its world size", names,
                               decision.rank, decision.world_size));
  }
  if (decision.local_world_size &&
      (*decision.local_world_size == 0 || *decision.local_world_size > decision.world_size ||
       decision.local_rank.value_or(0) >= *decision.local_world_size)) {
    return invalid(fmt::format("{} say local rank {} of {} on this machine, and {} in all", names,
                               decision.local_rank.value_or(0), *decision.local_world_size,
                               decision.world_size));
  }
  decision.source = fmt::format("rank {} of {} ({})", decision.rank, decision.world_size, names);
  return decision;
}

/// What one launcher says; nothing when it is not there.
Result<std::optional<RankDecision>> ask(const Launcher& launcher,
                                        const EnvironmentLookup& environment) {
  std::optional<RankDecision> nobody;
  if (!launcher.only_with.empty() && !environment(launcher.only_with)) return nobody;
  const auto rank = read_count(environment, launcher.rank);
  if (!rank) return rank.error();
  const auto size = read_count(environment, launcher.world_size);
  if (!size) return size.error();
  if (!*rank && !*size) return nobody;
  if (!*rank || !*size) {
    if (launcher.may_lack_size && *rank) return nobody;
    return invalid(fmt::format("{} is set without {}; set both, or rank and world_size",
                               *rank ? launcher.rank : launcher.world_size,
                               *rank ? launcher.world_size : launcher.rank));
  }
  const auto local_rank = read_count(environment, launcher.local_rank);
  if (!local_rank) return local_rank.error();
  auto local_size = read_count(environment, launcher.local_world_size);
  if (!local_size) return local_size.error();
  if (launcher.rank == "SLURM_PROCID") *local_size = slurm_tasks_here(environment);

  RankDecision decision;
  decision.rank = **rank;
  decision.world_size = **size;
  decision.local_rank = *local_rank;
  decision.local_world_size = *local_size;
  auto checked =
      conclude(std::move(decision), fmt::format("{} and {}", launcher.rank, launcher.world_size));
  if (!checked) return checked.error();
  return std::optional<RankDecision>(std::move(*checked));
}

/// The first launcher that speaks; nothing when none does.
Result<std::optional<RankDecision>> ask_all(const EnvironmentLookup& environment) {
  bool rank_without_size = false;
  for (const Launcher& launcher : kLaunchers) {
    auto answer = ask(launcher, environment);
    if (!answer || *answer) return answer;
    rank_without_size |= launcher.may_lack_size && environment(launcher.rank).has_value();
  }
  if (rank_without_size) {
    return invalid(
        "PMIX_RANK is set, but nothing says how many ranks there are; set RANK and WORLD_SIZE, or "
        "rank and world_size");
  }
  return std::optional<RankDecision>{};
}

}  // namespace

EnvironmentLookup process_environment() {
  return [](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());
    if (value == nullptr) return std::nullopt;
    return value;
  };
}

Result<RankDecision> decide_rank(std::optional<std::uint32_t> rank,
                                 std::optional<std::uint32_t> world_size,
                                 const EnvironmentLookup& environment) {
  auto launched = ask_all(environment);
  if (rank || world_size) {
    if (!rank || !world_size)
      return invalid(fmt::format("{} is given without {}: give both or neither",
                                 rank ? "rank" : "world_size", rank ? "world_size" : "rank"));
    RankDecision decision;
    // What the launcher knows of this machine still holds when it means the same rank.
    if (launched && *launched && (*launched)->rank == *rank &&
        (*launched)->world_size == *world_size)
      decision = **launched;
    decision.rank = *rank;
    decision.world_size = *world_size;
    return conclude(std::move(decision), "the options rank and world_size");
  }
  if (!launched) return launched.error();
  if (*launched) return std::move(**launched);
  RankDecision single;
  single.source = "rank 0 of 1 (a single process: no launcher is seen)";
  return single;
}

}  // namespace shardreel
