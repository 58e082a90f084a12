#pragma once
// Indexes of shards that do not exist, for tests: random facts, extreme ones included.

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "shardreel/shard_index.h"

namespace shardreel::testing {

struct SampleToIndex {
  IndexedSample sample;
  VideoRecord video;
  std::vector<PacketRecord> packets;
};

struct IndexedShard {
  ShardIdentity identity;
  bool seekable = true;
  std::vector<std::string> video_fields;
  std::vector<SampleToIndex> samples;
};

std::shared_ptr<const RandomAccess> bytes_of(const std::string& bytes);

/// Samples with sensible and with extreme numbers, videos and failures.
IndexedShard random_shard(std::mt19937_64& random, std::size_t samples);

/// A plain shard as `pack` makes them: `samples` videos of `frames` frames at a constant rate with
/// B-frames, packet sizes as of a real encoder, one keyframe in `gop` frames.
IndexedShard plain_shard(std::size_t samples, int frames, int gop);

/// One such sample, the `i`-th, whose members begin at `offset`.
SampleToIndex plain_sample(std::size_t i, std::uint64_t offset, int frames, int gop,
                           std::mt19937_64& random);

/// The bytes with checksums of header and directory put right: damage that only checks of the
/// content can find.
std::string resealed(std::string bytes);

std::string write_index(const IndexedShard& shard);

/// What of sample `i` differs from what was written; empty when nothing does.
std::string identical(const ShardIndex& index, std::uint64_t i, const SampleToIndex& expected);

}  // namespace shardreel::testing
