#pragma once
// `shardreel plan`: the memory plan, before anything runs.

#include "tools/commands/option_flags.h"

namespace shardreel::tools {

struct PlanCommand {
  OptionFlags flags;
  std::string assume_video;  ///< "1920x1080:h264"; empty = what the index has
  bool json = false;
};

/// Print the plan as a table, or as JSON. Return 0, or 2 when the options cannot be met.
int run_plan(const PlanCommand& command);

}  // namespace shardreel::tools
