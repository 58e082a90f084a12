#include "tools/commands/index_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <stop_token>
#include <thread>

#include "loader/read/http/http_url.h"
#include "loader/read/source_opener.h"
#include "shardreel/options.h"
#include "shardreel/shard_url.h"
#include "shardreel/units.h"
#include "tools/commands/companion_index.h"
#include "tools/commands/feed.h"
#include "tools/commands/signal_watch.h"
#include "tools/commands/text_json.h"

namespace shardreel::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string counted(std::uint64_t count, std::string_view thing) {
  return fmt::format("{} {}{}", count, thing, count == 1 ? "" : "s");
}

/// Runs `task` for 0..count-1 on `jobs` threads and shows how far it is.
class Work {
 public:
  Work(std::uint64_t count, std::uint32_t jobs, std::stop_source& stop)
      : count_(count), jobs_(jobs), stop_(stop) {}

  template <typename Task>
  void run(const Task& task) {
    std::vector<std::jthread> threads;
    const std::uint64_t wanted = std::min<std::uint64_t>(jobs_, count_);
    for (std::uint64_t i = 0; i < wanted; ++i) {
      threads.emplace_back([this, &task] {
        while (!stop_.stop_requested()) {
          const std::uint64_t number = next_.fetch_add(1);
          if (number >= count_) break;
          task(number);
          const std::lock_guard lock(mutex_);
          ++done_;
          wake_.notify_all();
        }
        const std::lock_guard lock(mutex_);
        ++ended_;
        wake_.notify_all();
      });
    }
    show_progress(wanted);
  }

 private:
  void show_progress(std::uint64_t threads) {
    const bool terminal = isatty(STDERR_FILENO) == 1;
    const auto pause = terminal ? std::chrono::seconds(1) : std::chrono::seconds(10);
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, pause, [&] { return ended_ == threads; })) {
      fmt::print(stderr, "{}{} of {}{}", terminal ? "\r\x1b[K" : "", done_,
                 counted(count_, "shard"), terminal ? "" : "\n");
      std::fflush(stderr);
    }
    if (terminal) fmt::print(stderr, "\r\x1b[K");
  }

  const std::uint64_t count_;
  const std::uint32_t jobs_;
  std::stop_source& stop_;
  std::atomic<std::uint64_t> next_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::uint64_t done_ = 0, ended_ = 0;
};

std::string failures_text(const IndexReport& report) {
  std::string text;
  for (const auto& [code, count] : report.failures) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, code);
  }
  return text.empty() ? "" : fmt::format(" ({})", text);
}

std::string line_of(const IndexReport& report) {
  if (report.state == IndexState::kMissing) {
    return fmt::format("{}: missing, expected at {}", report.shard, report.index);
  }
  if (!report.reason.empty()) {
    return fmt::format("{}: {}: {}", report.shard, to_string(report.state), report.reason);
  }
  const IndexTotals& totals = report.totals;
  return fmt::format("{}: {}, {}, {}, {}{}, {}{}", report.shard, to_string(report.state),
                     counted(totals.samples, "sample"), counted(totals.frames, "frame"),
                     counted(totals.failures, "failure"), failures_text(report),
                     format_bytes(report.index_bytes),
                     report.seekable ? "" : ", not seekable (compressed)");
}

struct Sums {
  std::map<std::string_view, std::uint64_t> states;
  std::map<std::string, std::uint64_t> failures;
  IndexTotals totals;
  std::uint64_t index_bytes = 0;
  bool good = true;

  explicit Sums(const std::vector<IndexReport>& reports) {
    for (const IndexReport& report : reports) {
      ++states[to_string(report.state)];
      good &= report.state == IndexState::kFresh || report.state == IndexState::kWritten;
      totals.samples += report.totals.samples;
      totals.videos += report.totals.videos;
      totals.failures += report.totals.failures;
      totals.frames += report.totals.frames;
      totals.packets += report.totals.packets;
      totals.keyframes += report.totals.keyframes;
      totals.video_bytes += report.totals.video_bytes;
      totals.seconds += report.totals.seconds;
      index_bytes += report.index_bytes;
      for (const auto& [code, count] : report.failures) failures[code] += count;
    }
  }
};

void put_totals(Json& into, const IndexTotals& totals, std::uint64_t index_bytes,
                const std::map<std::string, std::uint64_t>& failures) {
  into["samples"] = totals.samples;
  into["videos"] = totals.videos;
  into["failures"] = totals.failures;
  into["failures_by_reason"] = failures;
  into["frames"] = totals.frames;
  into["seconds"] = totals.seconds;
  into["video_bytes"] = totals.video_bytes;
  into["index_bytes"] = index_bytes;
}

Json json_of(const std::vector<IndexReport>& reports) {
  const Sums sums(reports);
  Json out;
  for (const IndexState state : {IndexState::kFresh, IndexState::kWritten, IndexState::kMissing,
                                 IndexState::kStale, IndexState::kFailed}) {
    const auto at = sums.states.find(to_string(state));
    out[std::string(to_string(state))] = at == sums.states.end() ? 0 : at->second;
  }
  put_totals(out, sums.totals, sums.index_bytes, sums.failures);
  out["shards"] = Json::array();
  for (const IndexReport& report : reports) {
    Json shard;
    add_text(shard, "shard", report.shard);
    add_text(shard, "index", report.index);
    shard["state"] = to_string(report.state);
    if (!report.reason.empty()) {
      shard["reason"] = printable_utf8(report.reason);
    } else if (report.state != IndexState::kMissing) {
      shard["seekable"] = report.seekable;
      put_totals(shard, report.totals, report.index_bytes, report.failures);
    }
    out["shards"].push_back(std::move(shard));
  }
  return out;
}

void print_text(const std::vector<IndexReport>& reports, bool check) {
  for (const IndexReport& report : reports) {
    const bool good = report.state == IndexState::kFresh || report.state == IndexState::kWritten;
    // With --check, the fresh ones are only counted: what has to be done is what is printed.
    if (!good || !check) fmt::print("{}\n", for_terminal(line_of(report)));
  }
  const Sums sums(reports);
  std::string states;
  for (const auto& [state, count] : sums.states) {
    states += fmt::format("{}{} {}", states.empty() ? "" : ", ", count, state);
  }
  fmt::print("{}: {}; {}, {}, {} that cannot be used, {:.0f} s, indexes of {}\n",
             counted(reports.size(), "shard"), states, counted(sums.totals.samples, "sample"),
             counted(sums.totals.frames, "frame"), sums.totals.failures, sums.totals.seconds,
             format_bytes(sums.index_bytes));
}

int print_json(const Json& report) {
  // Paths need not be UTF-8; JSON must be.
  fmt::print("{}\n", report.dump(-1, ' ', false, Json::error_handler_t::replace));
  return std::fflush(stdout);
}

/// The shards, each once: two threads must not write one index, nor a list count a shard twice.
Result<std::vector<std::string>> shards_of(const IndexCommand& command) {
  auto list = ShardList::parse(command.urls);
  if (!list) return std::move(list.error());
  std::vector<std::string> shards;
  std::set<std::string> seen;
  for (std::uint64_t i = 0; i < list->size(); ++i) {
    const std::string url = list->at(i);
    const auto path = local_shard_path(url);
    const std::string name =
        path ? std::filesystem::absolute(*path).lexically_normal().string() : url;
    if (seen.insert(name).second) shards.push_back(url);
  }
  if (shards.empty()) {
    return Error{ErrorCode::kInvalidOption, "no shards are given", {}, {}, {}};
  }
  return shards;
}

int run_companion(const IndexCommand& command, const std::vector<std::string>& shards,
                  std::stop_source& stop) {
  CompanionShards listed(shards.size());
  Work work(shards.size(), command.jobs, stop);
  work.run([&](std::uint64_t i) {
    listed[i].url = shards[i];
    if (auto good = list_companion_shard(listed[i], command.format, stop.get_token()); !good) {
      listed[i].failure = std::move(good.error());
    }
  });
  if (stop.stop_requested()) return kExitFailed;
  bool good = true;
  for (const auto& shard : listed) {
    if (!shard.failure) continue;
    if (command.json && good) print_error_json(Error(*shard.failure).at(shard.url));
    fmt::print(stderr, "shardreel index: {}\n", for_terminal(shard.failure->describe()));
    good = false;
  }
  if (!good) return kExitFailed;  // an index of some of the shards would hide the others
  const auto written = write_companion(listed, command.format, command.build.index_dir);
  if (!written) {
    if (command.json) print_error_json(written.error());
    fmt::print(stderr, "shardreel index: {}\n", for_terminal(written.error().describe()));
    return kExitFailed;
  }
  std::uint64_t samples = 0;
  for (const auto& shard : listed) samples += shard.samples.size();
  if (command.json) {
    const Json report{{"format", command.format},
                      {"shards", shards.size()},
                      {"samples", samples},
                      {"files", *written}};
    return print_json(report) == 0 ? kExitGood : kExitFailed;
  }
  for (const std::string& path : *written) fmt::print("{}\n", for_terminal(path));
  fmt::print("{}, {}: {} for {}\n", counted(shards.size(), "shard"), counted(samples, "sample"),
             counted(written->size(), "file"), command.format);
  return std::fflush(stdout) == 0 ? kExitGood : kExitFailed;
}

int run_own(const IndexCommand& command, const std::vector<std::string>& shards,
            std::stop_source& stop) {
  std::vector<IndexReport> reports(shards.size());
  SourceOpener opener({});
  IndexBuildOptions build = command.build;
  build.remote = &opener;
  Work work(shards.size(), command.jobs, stop);
  work.run([&](std::uint64_t i) {
    try {
      reports[i] = index_shard(shards[i], build, stop.get_token());
    } catch (const std::exception& error) {
      reports[i].shard = redacted(shards[i]);
      reports[i].reason = error.what();
    }
  });
  if (stop.stop_requested()) {
    std::erase_if(reports, [](const auto& report) {
      return report.shard.empty() || report.state == IndexState::kFailed;
    });
  }
  if (command.json) {
    if (print_json(json_of(reports)) != 0) return kExitFailed;
  } else {
    print_text(reports, command.build.check);
  }
  return std::fflush(stdout) == 0 && Sums(reports).good ? kExitGood : kExitFailed;
}

}  // namespace

void add_index_flags(CLI::App& app, IndexCommand& command) {
  command.build.video_fields = InputOptions().video_fields;
  app.footer(
      "Exit status: 0 every shard has a fresh index, 1 one has not, 2 usage, 130 or 143 after\n"
      "SIGINT or SIGTERM (whole indexes stay). Videos that cannot be read are recorded with their\n"
      "reason and counted; they are no failure of the index.");
  app.add_option("urls", command.urls, "Shards: paths or URLs with braces, `::`, @FILE")
      ->required()
      ->type_name("SHARDS");
  app.add_option("--index-dir", command.build.index_dir,
                 "Folder of the indexes [beside the shards], for read-only and remote storage")
      ->type_name("DIR");
  app.add_option("--jobs", command.jobs, "Shards at once; decides no byte [one a processor]")
      ->check(CLI::PositiveNumber);
  app.add_option("--video-fields", command.build.video_fields,
                 "Fields that may hold the video, the preferred first")
      ->delimiter(',')
      ->type_name("NAMES");
  CLI::Option* check =
      app.add_flag("--check", command.build.check,
                   "Make nothing; say which indexes are missing or stale, exit 1 if any is");
  app.add_flag("--force", command.build.force, "Make fresh indexes again")->excludes(check);
  app.add_option("--format", command.format, "Write the index of another reader instead")
      ->check(CLI::IsMember({"energon", "dali", "wids"}))
      ->excludes(check);
  app.add_flag("--json", command.json, "Print one JSON object on standard output");
}

int run_index(const IndexCommand& command) {
  const auto shards = shards_of(command);
  if (!shards) {
    if (command.json) print_error_json(shards.error());
    fmt::print(stderr, "shardreel index: {}\n", for_terminal(shards.error().describe()));
    return kExitUsage;
  }
  IndexCommand resolved = command;
  if (resolved.jobs == 0) resolved.jobs = std::max(1U, std::thread::hardware_concurrency());
  std::stop_source stop;
  SignalWatch watch;
  watch.on_signal([&stop] { stop.request_stop(); });
  const int status = resolved.format.empty() ? run_own(resolved, *shards, stop)
                                             : run_companion(resolved, *shards, stop);
  watch.on_signal({});
  return watch.received() != 0 ? 128 + watch.received() : status;
}

}  // namespace shardreel::tools
