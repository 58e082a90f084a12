#pragma once
// What `shuffle_domain = auto` comes to, decided once, from options and data alone.

#include <stop_token>
#include <string>

#include "shardreel/options.h"
#include "shardreel/shard_url.h"

namespace shardreel {

struct DomainChoice {
  ShuffleDomain domain = ShuffleDomain::kFrames;
  std::string why;  ///< one line for the log
};

/// Choose by the windows and, where several are taken of a video, by the first 16 samples of the
/// first shard of the unshuffled list (the same on every rank): packets, where they are at most a
/// quarter of the clips' bytes, shuffling them decodes at most a quarter more, and at most four
/// clips come out together on average (more of one video would meet in a batch than among shuffled
/// clips). A first shard that cannot be read twice, or read at all, or holds no video gives frames.
/// Blocks while it reads; once `stop` is asked for, it answers soon, and that means nothing.
DomainChoice choose_domain(const LoaderOptions& options, const ShardList& shards,
                           const std::stop_token& stop = {});

}  // namespace shardreel
