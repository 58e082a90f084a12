#pragma once
// What a device's decoders cannot take: learnt once for each kind of video, not once for each
// video.

#include <cstdint>
#include <map>
#include <string>

#include "loader/base/mutex.h"

namespace shardreel {

enum class KindVerdict {
  kTry,         ///< the caller is the first: it tries and must report
  kBeingTried,  ///< somebody else does: go another way meanwhile
  kTakes,       ///< it worked before
  kRefuses,     ///< it did not: go another way at once
  kDiffers,     ///< it did, and gave something else than the CPU does: the same
};

/// A kind is what decides whether a decoder takes a video, in words: codec, profile, depth, chroma,
/// size class. The first of a kind is alone, so that a kind costs one failed attempt however many
/// threads meet it. Never waits. Thread-safe.
class RefusalMemory {
 public:
  KindVerdict ask(const std::string& kind);
  /// What the try gave: kTakes, kRefuses or kDiffers; also when a kind that was taken is refused
  /// all the same.
  void report(const std::string& kind, KindVerdict verdict);
  /// The try told nothing (no memory, stopped): the next one to ask tries.
  void forget(const std::string& kind);

  /// How many kinds are not to be tried again.
  [[nodiscard]] std::uint64_t refused_kinds() const;

 private:
  mutable Mutex mutex_;
  std::map<std::string, KindVerdict> kinds_ SHARDREEL_GUARDED_BY(mutex_);  // as others are told
};

}  // namespace shardreel
