#include "tools/commands/plan.h"

#include <fmt/format.h>

#include <cstdio>

#include "shardreel/loader.h"
#include "tools/commands/feed.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {

int run_plan(const PlanCommand& command) {
  const auto options = read_options(command.flags);
  std::optional<AssumedVideo> assumed;
  Result<MemoryPlanReport> report = MemoryPlanReport{};
  if (!options) report = options.error();
  if (report && !command.assume_video.empty()) {
    auto video = AssumedVideo::parse(command.assume_video);
    if (video) {
      assumed = std::move(*video);
    } else {
      report = video.error();
    }
  }
  if (report) report = plan(*options, assumed);
  if (!report) {
    if (command.json) print_error_json(report.error());
    fmt::print(stderr, "shardreel plan: {}\n", for_terminal(report.error().describe()));
    return kExitUsage;
  }
  fmt::print("{}\n", command.json ? report->to_json() : report->table());
  return std::fflush(stdout) == 0 ? kExitGood : kExitFailed;
}

}  // namespace shardreel::tools
