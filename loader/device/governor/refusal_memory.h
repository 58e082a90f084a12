#pragma once
// What a device's decoders cannot take: learnt once for each kind of video, not once for each
// video.

#include <cstdint>
#include <map>
#include <optional>
#include <stop_token>
#include <string>

#include "loader/base/mutex.h"

namespace shardreel {

enum class KindVerdict {
  kTry,     ///< the caller is the first: it tries and must report, everybody else waits
  kTakes,   ///< it worked before
  kRefuses  ///< it did not: go another way at once
};

/// A kind is what decides whether a decoder takes a video, in words: codec, profile, depth, chroma,
/// size class. The first of a kind is alone: others that ask meanwhile wait for its report, so that
/// a kind costs one failed attempt however many threads meet it. Thread-safe.
class RefusalMemory {
 public:
  /// kRefuses, without a memory of it, when `stop` was asked for.
  KindVerdict ask(const std::string& kind, const std::stop_token& stop);
  /// The same without waiting: nothing while the first one tries.
  std::optional<KindVerdict> ask_now(const std::string& kind);
  /// What the try gave; also when a kind that was taken is refused all the same.
  void report(const std::string& kind, bool takes);
  /// The try told nothing (no memory, stopped): the next one to ask tries.
  void forget(const std::string& kind);

  [[nodiscard]] std::uint64_t tries() const;  ///< kTry given so far
  [[nodiscard]] std::uint64_t refused_kinds() const;

 private:
  std::optional<KindVerdict> known(const std::string& kind) SHARDREEL_REQUIRES(mutex_);
  enum class State { kBeingTried, kTakes, kRefuses };
  mutable Mutex mutex_;
  Condition reported_;
  std::map<std::string, State> kinds_ SHARDREEL_GUARDED_BY(mutex_);
  std::uint64_t tries_ SHARDREEL_GUARDED_BY(mutex_) = 0;
};

}  // namespace shardreel
