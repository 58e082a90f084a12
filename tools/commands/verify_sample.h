#pragma once
// The checks that look into one sample; any number of threads at once.

#include <cstdint>
#include <stop_token>
#include <vector>

#include "loader/decode/video_decoder.h"
#include "tools/commands/finding.h"
#include "tools/commands/shard_walk.h"

namespace shardreel::tools {

struct SampleChecks {
  std::vector<Finding> findings;
  std::uint64_t videos = 0, frames_decoded = 0;
};

/// Look at every field of the sample: empty, of another kind than its name says, JSON that does not
/// parse, a video that does not open or, with `deep`, whose frames do not all decode, a video in a
/// field that is not of `videos`. Reads at most 64 MiB of any field but videos. An error only when
/// `stop` asked for it.
Result<SampleChecks> check_sample(const WalkedSample& walked,
                                  const std::vector<std::string>& videos, bool deep,
                                  VideoDecoder& decoder, const std::stop_token& stop);

}  // namespace shardreel::tools
