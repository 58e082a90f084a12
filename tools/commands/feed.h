#pragma once
// `shardreel feed`: run the loader as a training job would, and say what came out.

#include <cstdint>
#include <string>

#include "tools/commands/option_flags.h"

namespace shardreel::tools {

/// Exit statuses of every subcommand.
enum ExitStatus : int { kExitGood = 0, kExitFailed = 1, kExitUsage = 2 };

struct FeedCommand {
  OptionFlags flags;
  std::uint64_t max_batches = 0;  ///< each lane ends after so many; 0 = no bound
  bool pixel_digest = true;       ///< reads every byte of every batch
  std::string clips_out;          ///< JSON lines, one a clip; empty = none
  std::string state_out;          ///< file for the state after the last batches; empty = none
  std::string resume;             ///< file with a state to go on from; empty = none
  bool json = false;              ///< one JSON object on standard output instead of text
};

/// Return the exit status: 0 good, 1 the data or the run failed, 2 the options cannot be met, 128 +
/// N after signal N (SIGINT, SIGTERM), which ends the run cleanly; the summary is printed in the
/// last case and in the second one too, of what was delivered until then.
int run_feed(const FeedCommand& command);

}  // namespace shardreel::tools
