#include "tools/commands/pack.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <string_view>
#include <thread>
#include <utility>

#include "tools/commands/signal_watch.h"
#include "tools/commands/text_json.h"
#include "tools/pack/arrange.h"
#include "tools/pack/finish.h"
#include "tools/pack/folder.h"
#include "tools/pack/report.h"
#include "tools/pack/tasks.h"
#include "tools/pack/upload_set.h"
#include "tools/pack/write_set.h"

namespace shardreel::tools {
namespace {

int complain(int status, std::string_view message) {
  fmt::print(stderr, "shardreel pack: {}\n", for_terminal(message));
  return status;
}

int complain(const Error& error) {
  return complain(error.code == ErrorCode::kInvalidOption ? 2 : 1, error.describe());
}

/// One run of packing, step by step.
class PackRun {
 public:
  PackRun(const PackOptions& options, std::string* last_step)
      : options_(options), last_step_(last_step) {}

  int run() {
    SignalWatch signals;
    signals.on_signal([this] { stop_.request_stop(); });
    const int status = steps();
    signals.on_signal({});
    const int signal = signals.received();
    if (failure_ && options_.json) {
      print_failure(options_.out, *failure_, refused_);
    }
    return signal != 0 && status != 0 ? 128 + signal : status;
  }

 private:
  int steps() {
    auto task = decide_task(options_.task_index, options_.task_count, process_environment());
    if (!task) return fail(task.error());
    if (!task->alone && is_bucket(options_.out)) {
      return fail(2, Error{ErrorCode::kInvalidOption,
                           "machines that pack together need a folder they share as --out",
                           {},
                           {},
                           {}});
    }
    if (!task->alone) {
      task_ = TaskName{task->index, task->count};
      task_words_ = task->source;
      complain(0, task->source);
    }
    auto found = find_inputs(options_.inputs, options_.root);
    if (!found) return fail(1, found.error());
    found_ = std::move(*found);
    if (options_.prepare.segment_seconds > 0) refuse_segment_keys(found_);
    deciding_ = deciding_options(options_, task_ ? task_->count : 0);
    auto identity = fingerprint(found_, deciding_);
    if (!identity) return fail(identity.error());

    job_.directory = options_.out;
    if (is_bucket(options_.out) && !options_.dry_run) {
      auto staging = StagingFolder::make(options_.staging);
      if (!staging) return fail(1, staging.error());
      staging_.emplace(std::move(*staging));
      job_.directory = staging_->path();
    }
    while (job_.directory.size() > 1 && job_.directory.ends_with('/')) job_.directory.pop_back();
    job_.splits = arrange(options_, found_.items, task_);
    job_.limits = options_.limits;
    job_.prepare = options_.prepare;
    job_.jobs =
        options_.jobs > 0 ? options_.jobs : std::max(1U, std::thread::hardware_concurrency());
    if (options_.dry_run) return plan_only();
    return pack(*identity);
  }

  int plan_only() {
    SetState state;
    if (auto looked = survey(state, nullptr); !looked) return fail(looked.error());
    Tally tally;
    for (const auto& [item, surveyed] : state.survey) add_refusal(item, surveyed, tally);
    tally += listed();
    if (options_.balance != BalanceBy::kNothing) {
      balance_splits(options_, state.survey, job_.splits);
    }
    complain_of(tally.refused);
    const auto shards = planned_shards(options_, state.survey, job_.splits);
    if (!print_plan(shards, tally, found_.ignored, deciding_, options_.json)) {
      return complain(1, "writing the plan failed");
    }
    if (options_.fail_on_error && !tally.refused.empty()) return 1;
    return shards.empty() && !task_ ? complain(1, "no video could be packed") : 0;
  }

  int pack(const std::string& identity) {
    FolderClaim claim{job_.directory, {}, task_, header(identity), options_.overwrite};
    for (const SplitPlan& split : job_.splits) claim.prefixes.push_back(split.prefix);
    auto journal = claim_folder(claim);
    if (!journal) return fail(1, journal.error());
    const std::span lines(journal->lines());
    auto state = SetState::load(lines.empty() ? lines : lines.subspan(1));
    if (!state) return fail(state.error());
    for (const ManifestShard& shard : state->shards) {
      auto there = check_size(job_.directory, shard.name, shard.counts.bytes);
      if (there) continue;
      there.error().message = fmt::format(
          "a shard that the interrupted run had completed is gone or changed: {}; put "
          "it back, or --overwrite",
          there.error().message);
      return fail(1, there.error());
    }
    outcome_.resumed = state->shards.size();
    // The journal is ours: what lies there under our names is what a killed run had not noted.
    job_.overwrite = options_.overwrite || !lines.empty();
    if (state->done) return report(*state);

    auto done = prepare_shards(*state, *journal);
    if (!done) {
      const bool nothing_yet = state->shards.empty() && refused_early_;
      if (nothing_yet) (void)journal->remove();
      return fail(1, done.error());
    }
    return conclude(*state, *journal);
  }

  /// Look ahead where that is asked for, and write.
  Result<void> prepare_shards(SetState& state, Journal& journal) {
    if (options_.balance != BalanceBy::kNothing || options_.fail_on_error) {
      if (auto looked = survey(state, &journal); !looked) return looked;
    }
    if (options_.fail_on_error) {
      Tally tally;
      for (const auto& [item, surveyed] : state.survey) add_refusal(item, surveyed, tally);
      tally += listed();
      if (!tally.refused.empty()) {
        complain_of(tally.refused);
        refused_ = tally.refused;
        refused_early_ = true;
        return Error{
            ErrorCode::kNotMedia,
            fmt::format("{} inputs are refused, and --on-error is fail; nothing was packed",
                        tally.refused.size()),
            {},
            {},
            {}};
      }
    }
    if (options_.balance != BalanceBy::kNothing) {
      balance_splits(options_, state.survey, job_.splits);
    }
    Progress progress("packing", count_items(), count_bytes());
    return write_set(found_.items, job_, state, journal, progress, stop_.get_token());
  }

  int conclude(SetState& state, Journal& journal) {
    if (task_) {
      const nlohmann::ordered_json line = {{"done", true},
                                           {"split", state.split},
                                           {"item", state.item},
                                           {"part", state.part},
                                           {"tally", to_json(listed())}};
      if (auto noted = journal.append(dump(line), true); !noted) return fail(noted.error());
      state.tally += listed();
      return report(state);
    }
    state.tally += listed();
    if (state.shards.empty()) {
      if (auto gone = journal.remove(); !gone) return fail(gone.error());
      complain_of(state.tally.refused);
      refused_ = state.tally.refused;
      return fail(1, Error{ErrorCode::kNotMedia, "no video could be packed", {}, {}, {}});
    }
    const auto manifest = make_manifest(state.shards, state.tally, deciding_, options_.tool);
    if (auto written = write_reports(job_.directory, manifest, state.tally.refused); !written) {
      return fail(written.error());
    }
    outcome_.manifest = true;
    if (staging_) {
      auto sent = upload_set(job_.directory, options_.out, options_.overwrite, stop_.get_token());
      if (!sent) return fail(sent.error());
    }
    const int status = report(state);
    if (last_step_ != nullptr && !staging_) {
      *last_step_ = journal.path();
      return status;
    }
    // Last: as long as it is there, the same command ends well instead of finding shards in its
    // way.
    if (auto gone = journal.remove(); !gone) return complain(gone.error());
    return status;
  }

  int report(SetState& state) {
    complain_of(state.tally.refused);
    outcome_.out = staging_ ? options_.out : job_.directory;
    outcome_.shards = std::move(state.shards);
    outcome_.tally = std::move(state.tally);
    outcome_.ignored = found_.ignored;
    outcome_.options = deciding_;
    outcome_.task = task_words_;
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
    outcome_.seconds = seconds.count();
    return print_outcome(outcome_, options_.json) ? 0 : complain(1, "writing the summary failed");
  }

  Result<void> survey(SetState& state, Journal* journal) {
    Progress progress("checking", count_items(), count_bytes());
    return survey_set(found_.items, job_, state, journal, progress, stop_.get_token());
  }

  int fail(int status, const Error& error) {
    failure_ = error;
    return complain(status, error.describe());
  }
  int fail(const Error& error) {
    failure_ = error;
    return complain(error);
  }

  /// What was refused by its name alone; the first task tells.
  [[nodiscard]] Tally listed() const {
    Tally tally;
    if (!task_ || task_->index == 0) tally.refused = found_.refused;
    return tally;
  }

  void add_refusal(std::size_t item, const Surveyed& surveyed, Tally& tally) const {
    if (!surveyed.refused) return;
    tally.refused.push_back({found_.items[item].video, found_.items[item].key,
                             surveyed.refused->code, surveyed.refused->message});
  }

  /// The journal's first line, the same for all tasks of a run.
  [[nodiscard]] std::string header(const std::string& identity) const {
    nlohmann::ordered_json json = {{"run", identity},
                                   {"tool", options_.tool},
                                   {"inputs", found_.items.size()},
                                   {"ignored", found_.ignored}};
    json["options"] = nlohmann::ordered_json::parse(deciding_);
    json["prefixes"] = nlohmann::ordered_json::array();
    for (const SplitPlan& split : job_.splits) {
      json["prefixes"].push_back(shard_prefix(options_, split.name, std::nullopt));
    }
    return dump(json);
  }

  [[nodiscard]] std::uint64_t count_items() const {
    std::uint64_t count = 0;
    for (const SplitPlan& split : job_.splits) count += split.order.size();
    return count;
  }
  [[nodiscard]] std::uint64_t count_bytes() const {
    std::uint64_t bytes = 0;
    for (const SplitPlan& split : job_.splits) {
      for (const std::size_t item : split.order) bytes += found_.items[item].bytes;
    }
    return bytes;
  }

  const PackOptions& options_;
  std::string* const last_step_;
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  std::stop_source stop_;
  std::optional<StagingFolder> staging_;  ///< with a bucket
  std::optional<TaskName> task_;
  std::string task_words_;
  FoundItems found_;
  std::string deciding_;
  SetJob job_;
  Outcome outcome_;
  bool refused_early_ = false;
  std::optional<Error> failure_;  ///< why nothing was reported
  std::vector<Refusal> refused_;  ///< beside it
};

int run_finish(const PackOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  auto outcome = finish_tasks(options.finish);
  if (!outcome) {
    if (options.json) print_failure(options.finish, outcome.error(), {});
    return complain(1, outcome.error().describe());
  }
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  outcome->seconds = seconds.count();
  complain_of(outcome->tally.refused);
  return print_outcome(*outcome, options.json) ? 0 : complain(1, "writing the summary failed");
}

}  // namespace

int run_pack(const PackOptions& options, std::string* last_step) {
  if (const auto problem = problem_with(options)) {
    if (options.json) print_error_json({ErrorCode::kInvalidOption, *problem, {}, {}, {}});
    return complain(2, *problem);
  }
  // A file that outgrows the limit of this process is an error to tell, not a reason to die.
  std::signal(SIGXFSZ, SIG_IGN);
  if (!options.finish.empty()) return run_finish(options);
  return PackRun(options, last_step).run();
}

}  // namespace shardreel::tools
