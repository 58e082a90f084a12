#pragma once
// What `verify` finds wrong, as plain data.

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardreel/error.h"

namespace shardreel::tools {

enum class Severity { kError, kWarning };

/// What is wrong. `info_of` has the word, the severity and what to do.
enum class FindingKind {
  kShardUnreadable,  ///< cannot be opened or read
  kArchiveCut,       ///< ends before its end mark, or a compressed stream before its end
  kArchiveDamaged,   ///< bytes that no writer makes, or bytes behind the end
  kEmptyArchive,     ///< whole, but nothing in it belongs to a sample
  kSampleFailed,     ///< a sample cannot be read, the shard goes on
  kChecksum,         ///< the file is not the one that the manifest describes
  kCount,            ///< its content does not add up to what the manifest says
  kManifest,         ///< the manifest cannot be used
  kMissingShard,     ///< the manifest lists it, and it is not there
  kUnlistedShard,    ///< it is there, and the manifest does not list it
  kDuplicateKey,     ///< a key that another sample has
  kMissingField,     ///< a field that most samples have
  kUnlistedVideo,    ///< the sample has a video, but in no field of `video_fields`
  kEmptyMember,      ///< no bytes
  kWrongExtension,   ///< the content is of another kind than the name says
  kJson,             ///< does not parse
  kVideoUnreadable,  ///< does not open
  kVideoCut,         ///< its container ends too early
  kFramesDamaged,    ///< frames do not decode (`--deep`)
  kTimesUnused,      ///< stored times do not tell the order of the frames
  kLongFrame,        ///< a frame stays shown for longer than `fps` repeats one
  kVideoStreams,     ///< more than one video stream
  kIndex,            ///< the index beside the shard is stale or damaged
};

struct KindInfo {
  FindingKind kind;
  Severity severity;
  std::string_view word;    ///< snake_case, in --json
  std::string_view title;   ///< for people
  std::string_view advice;  ///< what to do
};
[[nodiscard]] const KindInfo& info_of(FindingKind kind) noexcept;
[[nodiscard]] std::string_view to_string(Severity severity) noexcept;

struct Finding {
  FindingKind kind = FindingKind::kShardUnreadable;
  std::string shard, key, field;        ///< empty where none is concerned
  std::optional<std::uint64_t> offset;  ///< in the decompressed archive
  std::string message;                  ///< what is there, and what was expected
  /// The sample concerned, for repairing.
  std::uint64_t shard_number = 0;
  std::optional<std::uint64_t> ordinal;
};

/// All findings, counted; of each kind the first `kMostOfAKind` are kept.
class Findings {
 public:
  static constexpr std::size_t kMostOfAKind = 1000;

  void add(Finding finding);
  /// Say more in all findings of a kind.
  void extend(FindingKind kind, const std::string& words);
  /// Count findings that are not described one by one.
  void add_more(FindingKind kind, std::uint64_t count) { counts_[kind] += count; }

  [[nodiscard]] const std::map<FindingKind, std::uint64_t>& counts() const { return counts_; }
  [[nodiscard]] std::uint64_t count(Severity severity) const;
  [[nodiscard]] const std::vector<Finding>& of(FindingKind kind) const;
  [[nodiscard]] std::uint64_t left_out() const;

 private:
  std::map<FindingKind, std::uint64_t> counts_;
  std::map<FindingKind, std::vector<Finding>> kept_;
};

}  // namespace shardreel::tools
