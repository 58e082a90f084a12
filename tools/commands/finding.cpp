#include "tools/commands/finding.h"

#include <utility>

namespace shardreel::tools {
namespace {

constexpr std::string_view kCopyAgain =
    "copy the shard again from its source; --repair DIR saves the samples that are whole";
constexpr std::string_view kMakeAgain =
    "take the file from its source again, or leave the sample out";

constexpr Severity kError = Severity::kError, kWarning = Severity::kWarning;
constexpr std::array<KindInfo, 23> kKinds{{
    {FindingKind::kShardUnreadable, kError, "shard_unreadable", "shards that cannot be read",
     "check the path, the permissions and the command"},
    {FindingKind::kArchiveCut, kError, "archive_cut", "archives that end too early", kCopyAgain},
    {FindingKind::kArchiveDamaged, kError, "archive_damaged", "damaged archives", kCopyAgain},
    {FindingKind::kEmptyArchive, kWarning, "empty_archive", "archives without samples",
     "leave the shard out of the list, or see what was to go into it"},
    {FindingKind::kSampleFailed, kError, "sample_failed", "samples that cannot be read",
     "make the shard again from its files; --repair DIR leaves these samples out"},
    {FindingKind::kChecksum, kError, "checksum", "files that are not those of the manifest",
     "copy the shard again; if it was changed on purpose, make the manifest again"},
    {FindingKind::kCount, kError, "count", "contents that differ from the manifest",
     "copy the shard again; if it was changed on purpose, make the manifest again"},
    {FindingKind::kManifest, kError, "manifest", "manifests that cannot be used",
     "copy dataset.json again, or make it again with pack"},
    {FindingKind::kMissingShard, kError, "missing_shard",
     "shards of the manifest that are not there", "copy them, or make the manifest again"},
    {FindingKind::kUnlistedShard, kWarning, "unlisted_shard",
     "shards that the manifest does not list",
     "remove them if they are left over from an earlier run"},
    {FindingKind::kDuplicateKey, kError, "duplicate_key", "keys that more than one sample has",
     "give samples unique keys, and write all members of a sample side by side"},
    {FindingKind::kMissingField, kWarning, "missing_field", "fields that most samples have",
     "add the field, or leave the sample out"},
    {FindingKind::kUnlistedVideo, kWarning, "unlisted_video",
     "samples whose video is in no field of video_fields",
     "set the option video_fields, or name the files otherwise (pack writes `_` for the dots)"},
    {FindingKind::kEmptyMember, kWarning, "empty_member", "members without any bytes", kMakeAgain},
    {FindingKind::kWrongExtension, kWarning, "wrong_extension",
     "contents of another kind than the name says",
     "name the file after what it is, and pack again"},
    {FindingKind::kJson, kError, "json", "JSON that does not parse", kMakeAgain},
    {FindingKind::kVideoUnreadable, kError, "video_unreadable", "videos that do not open",
     kMakeAgain},
    {FindingKind::kVideoCut, kError, "video_cut", "videos that end too early", kMakeAgain},
    {FindingKind::kFramesDamaged, kError, "frames_damaged", "videos with frames that do not decode",
     kMakeAgain},
    {FindingKind::kTimesUnused, kWarning, "times_unused",
     "videos whose stored times do not tell the order of their frames",
     "nothing is lost: frames are counted as the decoder shows them, always from the first packet "
     "on; write the file again with the times of its frames to read windows out of it at once"},
    {FindingKind::kLongFrame, kWarning, "long_frame", "videos with a frame that stays for minutes",
     "repair the video's times, or sample it by frame: with fps the sample fails"},
    {FindingKind::kVideoStreams, kWarning, "video_streams", "videos of several video streams",
     "if it is another stream that is wanted, pack a file that has only that one"},
    {FindingKind::kIndex, kError, "index", "indexes that are stale or damaged",
     "make the index again with shardreel index"},
}};

}  // namespace

const KindInfo& info_of(FindingKind kind) noexcept {
  return kKinds[static_cast<std::size_t>(kind)];
}

std::string_view to_string(Severity severity) noexcept {
  return severity == Severity::kError ? "error" : "warning";
}

void Findings::add(Finding finding) {
  ++counts_[finding.kind];
  auto& kept = kept_[finding.kind];
  if (kept.size() < kMostOfAKind) kept.push_back(std::move(finding));
}

void Findings::extend(FindingKind kind, const std::string& words) {
  for (Finding& finding : kept_[kind]) finding.message += words;
}

std::uint64_t Findings::count(Severity severity) const {
  std::uint64_t sum = 0;
  for (const auto& [kind, count] : counts_) {
    if (info_of(kind).severity == severity) sum += count;
  }
  return sum;
}

const std::vector<Finding>& Findings::of(FindingKind kind) const {
  static const std::vector<Finding> kNone;
  const auto at = kept_.find(kind);
  return at == kept_.end() ? kNone : at->second;
}

std::uint64_t Findings::left_out() const {
  std::uint64_t sum = 0;
  for (const auto& [kind, count] : counts_) sum += count - of(kind).size();
  return sum;
}

}  // namespace shardreel::tools
