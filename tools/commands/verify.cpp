#include "tools/commands/verify.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <thread>
#include <utility>

#include "loader/read/video_names.h"
#include "tools/commands/check_pool.h"
#include "tools/commands/feed.h"
#include "tools/commands/shard_walk.h"
#include "tools/commands/signal_watch.h"
#include "tools/commands/text_json.h"
#include "tools/commands/verify_manifest.h"
#include "tools/commands/verify_sample.h"
#include "tools/commands/verify_set.h"
#include "tools/commands/video_facts.h"

namespace shardreel::tools {
namespace {

constexpr std::uint64_t kTarBlock = 512;
constexpr std::size_t kMostNames = 20;  // of fields in a value to paste

FindingKind kind_of(const FailedSample& failure) {
  if (!failure.fatal) return FindingKind::kSampleFailed;
  switch (failure.error.code) {
    case ErrorCode::kTruncated: return FindingKind::kArchiveCut;
    case ErrorCode::kNotFound:
    case ErrorCode::kIo:
    case ErrorCode::kPipeFailed:
    case ErrorCode::kNotPermitted:
    case ErrorCode::kUnsupported:
    case ErrorCode::kMemory: return FindingKind::kShardUnreadable;
    default: return FindingKind::kArchiveDamaged;
  }
}

class Verifier final : public WalkVisitor {
 public:
  Verifier(const VerifyCommand& command, std::size_t jobs, std::stop_token stop)
      : command_(command),
        stop_(std::move(stop)),
        set_(command.video_fields),
        manifests_(command.manifest),
        pool_(jobs, [this](SampleChecks checks) { take(std::move(checks)); }) {
    outcome_.deep = command.deep;
  }

  Result<bool> sample(WalkedSample walked) override {
    ++outcome_.samples;
    for (const Field& field : walked.sample.fields) payload_ += field.size;
    SampleChecks now;
    if (auto twice = set_.add(walked.shard_number, walked.sample))
      now.findings.push_back(std::move(*twice));
    compare_with_index(walked, now);
    if (!now.findings.empty()) pool_.add(std::move(now));
    // Shared: std::function copies what it holds, and a sample's contents should not be.
    auto kept = std::make_shared<const WalkedSample>(std::move(walked));
    pool_.submit([kept, &command = command_, stop = stop_](VideoDecoder& decoder) {
      auto checks = check_sample(*kept, command.video_fields, command.deep, decoder, stop);
      return checks ? std::move(*checks) : SampleChecks{};
    });
    return true;
  }

  Result<bool> failure(std::uint64_t shard_number, const FailedSample& failure) override {
    const Error& error = failure.error;
    SampleChecks now;
    now.findings.push_back(Finding{kind_of(failure),
                                   error.shard,
                                   error.key,
                                   {},
                                   error.offset,
                                   error.message,
                                   shard_number,
                                   {}});
    pool_.add(std::move(now));
    return true;
  }

  Result<bool> shard_end(const WalkedShard& shard) override {
    ++outcome_.shards;
    outcome_.bytes += shard.bytes;
    SampleChecks now;
    check_length(shard, now);
    if (shard.empty)
      now.findings.push_back(Finding{
          FindingKind::kEmptyArchive, shard.url, {}, {}, {}, *shard.empty, shard.number, {}});
    for (Finding& finding : manifests_.check(shard, payload_))
      now.findings.push_back(std::move(finding));
    if (indexed_shard_ != shard.url) open_index(shard.number, shard.url, now);
    payload_ = 0;
    if (!now.findings.empty()) pool_.add(std::move(now));
    if (const auto expected = manifests_.expected_sha256(shard)) {
      pool_.submit([shard, expected = *expected, stop = stop_](VideoDecoder&) {
        return SampleChecks{check_sha256(shard, expected, stop), 0, 0};
      });
    }
    progress(shard);
    return true;
  }

  /// Behind the last shard; `stopped`: only what was begun is waited for.
  void finish(bool stopped) {
    pool_.finish();
    outcome_.stopped = stopped;
    outcome_.manifests = manifests_.used();
    if (stopped) return;
    for (Finding& finding : manifests_.finish()) keep(std::move(finding));
    name_all_unlisted();
    set_.finish(outcome_.findings);
  }

  /// Why a repaired shard should lack this sample.
  std::string verdict(std::uint64_t shard_number, const Sample& sample) const {
    if (const auto at = bad_.find({shard_number, sample.ordinal}); at != bad_.end())
      return fmt::format("{}", info_of(at->second).word);
    // Some byte is not what it was, and nothing else tells which: any sample may be the one.
    if (changed_.contains(shard_number) && !explained_.contains(shard_number))
      return "checksum: which of the shard's samples is damaged cannot be told";
    if (command_.fail_on == "error") return {};
    const auto missing = set_.missing_in(sample);
    return missing.empty() ? "" : fmt::format("missing_field: {}", missing.front());
  }

  VerifyOutcome& outcome() { return outcome_; }

 private:
  void take(SampleChecks checks) {
    outcome_.videos += checks.videos;
    outcome_.frames_decoded += checks.frames_decoded;
    for (Finding& finding : checks.findings) keep(std::move(finding));
  }

  void keep(Finding finding) {
    if (finding.kind == FindingKind::kUnlistedVideo && unlisted_.size() <= kMostNames)
      unlisted_.insert(finding.field);
    const bool counts =
        command_.fail_on != "error" || info_of(finding.kind).severity == Severity::kError;
    if (finding.ordinal && counts)
      bad_.try_emplace({finding.shard_number, *finding.ordinal}, finding.kind);
    if (finding.kind == FindingKind::kChecksum)
      changed_.insert(finding.shard_number);
    else if (info_of(finding.kind).severity == Severity::kError)
      explained_.insert(finding.shard_number);
    outcome_.findings.add(std::move(finding));
  }

  /// Two zero blocks are an end: some writers fill a record of 10,240 bytes behind them (or of any
  /// other size), some add nothing. Only what is no whole block is a cut, which loses nothing. The
  /// length of compressed archives is checked by their checksums.
  static void check_length(const WalkedShard& shard, SampleChecks& now) {
    if (!shard.whole || (shard.file_bytes && *shard.file_bytes != shard.bytes)) return;
    if (shard.bytes % kTarBlock == 0) return;
    now.findings.push_back(Finding{
        FindingKind::kArchiveCut,
        shard.url,
        {},
        {},
        shard.bytes,
        fmt::format("the archive ends after {} bytes, behind its end mark; expected a multiple of "
                    "{}",
                    shard.bytes, kTarBlock),
        shard.number,
        {}});
  }

  /// One value takes the videos of all samples: it goes into every such finding.
  void name_all_unlisted() {
    if (unlisted_.empty() || unlisted_.size() > kMostNames) return;
    std::vector<std::string> fields;
    for (const std::string& name : command_.video_fields) {
      if (set_.has_field(name)) fields.push_back(name);
    }
    fields.insert(fields.end(), unlisted_.begin(), unlisted_.end());
    if (fields.size() == 1) return;
    outcome_.findings.extend(FindingKind::kUnlistedVideo,
                             "; for all samples, " + video_fields_text(fields));
  }

  void open_index(std::uint64_t number, const std::string& url, SampleChecks& now) {
    indexed_shard_ = url;
    index_ = open_sidecar(url, command_.index_dir, stop_);
    if (index_.index) {
      ++outcome_.indexes;
      if (auto whole = index_.index->check_blocks(); !whole) {
        index_.problem = std::move(whole.error());
      }
    }
    if (index_.problem)
      now.findings.push_back(
          Finding{FindingKind::kIndex, url, {}, {}, {}, index_.problem->describe(), number, {}});
  }

  void compare_with_index(const WalkedSample& walked, SampleChecks& now) {
    const Sample& sample = walked.sample;
    if (indexed_shard_ != sample.shard) open_index(walked.shard_number, sample.shard, now);
    if (!index_.index) return;
    const auto at = index_.index->find_ordinal(sample.ordinal);
    if (at) {
      const IndexedSample known = index_.index->sample(*at);
      if (known.key == sample.key && known.offset == sample.offset) return;
    }
    now.findings.push_back(
        Finding{FindingKind::kIndex,
                sample.shard,
                sample.key,
                {},
                sample.offset,
                at ? fmt::format("the index {} has another sample here", *index_.path)
                   : fmt::format("the index {} lacks this sample", *index_.path),
                walked.shard_number,
                {}});
    index_.index.reset();  // one such finding a shard
  }

  void progress(const WalkedShard& shard) const {
    if (isatty(STDERR_FILENO) != 1) return;
    fmt::print(stderr, "\r\x1b[K{} shards, {} samples: {}", outcome_.shards, outcome_.samples,
               shortened(for_terminal(shard.url), 60));
    std::fflush(stderr);
  }

  const VerifyCommand& command_;
  const std::stop_token stop_;
  VerifyOutcome outcome_;
  SetChecks set_;
  ManifestChecks manifests_;
  std::string indexed_shard_;
  SidecarIndex index_;
  std::uint64_t payload_ = 0;  ///< of the shard that is read
  std::map<std::pair<std::uint64_t, std::uint64_t>, FindingKind> bad_;
  std::set<std::uint64_t> changed_;    // shards that are not those of their manifest
  std::set<std::string> unlisted_;     // fields that hold videos
  std::set<std::uint64_t> explained_;  // shards with an error that may be why
  CheckPool pool_;                     // last: its threads stop before what they use goes
};

int complain(int status, std::string_view message) {
  fmt::print(stderr, "shardreel verify: {}\n", for_terminal(message));
  return status;
}

/// What keeps the check from being made.
int fail(const VerifyCommand& command, const Error& error) {
  if (command.json) print_error_json(error);
  return complain(error.code == ErrorCode::kInvalidOption ? kExitUsage : kExitFailed,
                  error.describe());
}

bool counts(const VerifyCommand& command, const Findings& findings) {
  return findings.count(Severity::kError) > 0 ||
         (command.fail_on != "error" && findings.count(Severity::kWarning) > 0);
}

}  // namespace

void add_verify_flags(CLI::App& app, VerifyCommand& command) {
  app.add_option("shards", command.shards, "URLs and patterns of shards")->required();
  app.add_flag("--deep", command.deep, "Decode every frame of every video");
  app.add_option("--jobs", command.jobs, "Samples looked into at once; default: one a processor")
      ->check(CLI::Range(1, 1024));
  app.add_option("--fail-on", command.fail_on, "What makes the exit status 1")
      ->check(CLI::IsMember({"warning", "error"}))
      ->capture_default_str();
  app.add_option("--video-fields", command.video_fields, "Fields that may hold the video")
      ->delimiter(',')
      ->type_name("NAMES");
  app.add_option("--manifest", command.manifest,
                 "The manifest; default: dataset.json in the shards' folder or the one above")
      ->type_name("FILE");
  app.add_option("--index-dir", command.index_dir, "Folder of the shards' indexes")
      ->type_name("DIR");
  app.add_option("--repair", command.repair,
                 "Write the good samples into new shards of the same names in this folder")
      ->type_name("DIR");
  app.add_option("--spool-dir", command.spool_dir, "For large members of streams; default: $TMPDIR")
      ->type_name("DIR");
  app.add_flag("--json", command.json, "Print one JSON object on standard output");
}

Result<VerifyOutcome> verify_shards(const VerifyCommand& command, const ShardList& shards,
                                    const std::stop_token& stop) {
  std::vector<std::string> names;
  if (!command.repair.empty()) {
    auto free = repaired_names(shards, command.repair);
    if (!free) return std::move(free.error());
    names = std::move(*free);
  }
  const std::size_t jobs =
      command.jobs != 0 ? command.jobs : std::max(1U, std::thread::hardware_concurrency());
  Verifier verifier(command, jobs, stop);
  WalkOptions options;
  options.spool_dir = command.spool_dir;
  auto walked = walk_shards(shards, options, verifier, stop);
  const bool stopped = stop.stop_requested();
  if (!walked && !stopped) return std::move(walked.error());
  verifier.finish(stopped);
  if (!command.repair.empty() && !stopped) {
    auto repaired = repair_shards(
        shards, names, command.repair,
        [&](std::uint64_t number, const Sample& sample) {
          return verifier.verdict(number, sample);
        },
        stop);
    if (!repaired && !stop.stop_requested()) return std::move(repaired.error());
    if (repaired) verifier.outcome().repair = std::move(*repaired);
    verifier.outcome().stopped = !repaired;
  }
  return std::move(verifier.outcome());
}

int run_verify(const VerifyCommand& command) {
  const auto shards = ShardList::parse(command.shards);
  if (!shards) return fail(command, shards.error());
  std::stop_source stop;
  SignalWatch signals;
  signals.on_signal([&stop] { stop.request_stop(); });
  const auto outcome = verify_shards(command, *shards, stop.get_token());
  signals.on_signal({});
  if (isatty(STDERR_FILENO) == 1) fmt::print(stderr, "\r\x1b[K");
  if (!outcome) return fail(command, outcome.error());
  if (command.json)
    fmt::print("{}\n", verify_json(*outcome));
  else
    fmt::print("{}", verify_text(*outcome));
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
    return complain(kExitFailed, "writing to standard output failed");
  if (signals.received() != 0) return 128 + signals.received();
  return counts(command, outcome->findings) ? kExitFailed : kExitGood;
}

}  // namespace shardreel::tools
