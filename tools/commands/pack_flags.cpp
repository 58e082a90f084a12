// The command line of `shardreel pack`.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <string_view>

#include "shardreel/units.h"
#include "tools/commands/pack.h"
#include "tools/pack/transcode_spec.h"

namespace shardreel::tools {
namespace {

constexpr std::string_view kFooter =
    "A video becomes a sample together with the files beside it that have its name (a.mp4, "
    "a.json).\n"
    "Inputs: videos, folders, @LIST (a path a line), FILE.jsonl and FILE.csv with a column "
    "'path'.\n"
    "A run that was killed goes on when the same command is run again. After SIGINT or SIGTERM\n"
    "only whole shards are left, and the exit status is 130 or 143. docs/packing.md has the rest.";

/// A flag whose text is turned into a value, or refused with the reason.
template <typename Set>
CLI::Option* add_parsed(CLI::App& app, const std::string& flag, const std::string& type,
                        const std::string& help, Set set) {
  return app
      .add_option_function<std::string>(
          flag,
          [flag, set](const std::string& text) {
            if (const auto problem = set(text)) throw CLI::ValidationError(flag, *problem);
          },
          help)
      ->type_name(type);
}

using Problem = std::optional<std::string>;

template <typename T, typename Parsed>
Problem take(Parsed parsed, T& into) {
  if (!parsed) return parsed.error().message;
  into = std::move(*parsed);
  return std::nullopt;
}

Problem set_fraction(const std::string& text, PackOptions& options) {
  double fraction = 0;
  const char* last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, fraction);
  if (status != std::errc{} || end != last || !(fraction > 0 && fraction < 1)) {
    return fmt::format("'{}' is no fraction between 0 and 1", text);
  }
  options.splits = {{"train", fraction}, {"val", 1 - fraction}};
  return std::nullopt;
}

void add_shard_flags(CLI::App& app, PackOptions& options) {
  app.add_option_function<std::string>(
         "--prefix",
         [&options](const std::string& prefix) {
           options.prefix = prefix;
           options.prefix_given = true;
         },
         "Names of shards begin so")
      ->type_name("TEXT")
      ->default_str(options.prefix);
  app.add_option("--shard-samples", options.limits.samples, "Samples of a shard at most")
      ->check(CLI::PositiveNumber);
  add_parsed(
      app, "--shard-bytes", "SIZE", "Bytes of a shard's files at most; 0 = no bound",
      [&options](const std::string& text) { return take(parse_bytes(text), options.limits.bytes); })
      ->default_str("1GiB");
  add_parsed(app, "--balance", "bytes|frames|seconds", "Even the shards out by this",
             [&options](const std::string& text) -> Problem {
               constexpr std::array<std::string_view, 3> kWords{"bytes", "frames", "seconds"};
               for (std::size_t i = 0; i < kWords.size(); ++i) {
                 if (kWords[i] == text) {
                   options.balance = static_cast<BalanceBy>(i + 1);
                   return std::nullopt;
                 }
               }
               return fmt::format("'{}' is none of bytes, frames, seconds", text);
             });
  app.add_option("--shuffle", options.shuffle, "Pack in a random order of this seed")
      ->type_name("SEED");
}

void add_split_flags(CLI::App& app, PackOptions& options) {
  auto* split = add_parsed(
      app, "--split", "NAME=SHARE,...",
      "Several sets of shards without a group in common, e.g. "
      "train=0.9,val=0.1",
      [&options](const std::string& text) { return take(parse_splits(text), options.splits); });
  add_parsed(app, "--train-fraction", "F", "Short for --split train=F,val=1-F",
             [&options](const std::string& text) { return set_fraction(text, options); })
      ->excludes(split);
  add_parsed(app, "--group-by", "key|folder", "What a split keeps together",
             [&options](const std::string& text) -> Problem {
               options.group_by_folder = text == "folder";
               if (text == "folder" || text == "key") return std::nullopt;
               return fmt::format("'{}' is none of key, folder", text);
             })
      ->default_str("key");
}

void add_check_flags(CLI::App& app, PackOptions& options) {
  add_parsed(app, "--check", "none|open|decode", "How closely videos are looked at",
             [&options](const std::string& text) -> Problem {
               const auto level = parse_check_level(text);
               if (!level) return fmt::format("'{}' is none of none, open, decode", text);
               options.prepare.check = *level;
               return std::nullopt;
             })
      ->default_str(std::string(to_string(options.prepare.check)));
  add_parsed(app, "--on-error", "skip|fail", "Leave refused videos out, or pack nothing then",
             [&options](const std::string& text) -> Problem {
               options.fail_on_error = text == "fail";
               if (text == "fail" || text == "skip") return std::nullopt;
               return fmt::format("'{}' is none of skip, fail", text);
             })
      ->default_str("skip");
  add_parsed(app, "--transcode", "SPEC",
             "Encode videos for training, e.g. codec=h264,short_side=256,gop=30 "
             "(docs/transcoding.md)",
             [&options](const std::string& text) -> Problem {
               return take(parse_transcode_spec(text), options.prepare.transcode);
             });
  app.add_option("--segment-seconds", options.prepare.segment_seconds,
                 "Cut videos at keyframes into parts of about this length, without encoding")
      ->check(CLI::PositiveNumber);
  app.add_option("--spool-dir", options.prepare.spool_dir,
                 "Folder of files that need room while videos are changed; default $TMPDIR")
      ->type_name("DIR");
}

void add_run_flags(CLI::App& app, PackOptions& options) {
  app.add_option("--jobs", options.jobs, "Videos looked at or encoded at once; default all cores")
      ->check(CLI::PositiveNumber);
  app.add_option("--task-index", options.task_index, "This machine's number, from 0")
      ->type_name("I");
  app.add_option("--task-count", options.task_count,
                 "Machines that pack together; default from Slurm or MPI")
      ->type_name("N");
  app.add_option("--finish", options.finish, "Merge what the tasks made in DIR")->type_name("DIR");
  app.add_flag("--overwrite", options.overwrite, "Replace the set that is there");
  app.add_flag("--dry-run", options.dry_run, "Check, print the plan, write nothing");
  app.add_flag("--json", options.json, "Print one JSON object on standard output");
}

}  // namespace

void add_pack_flags(CLI::App& app, PackOptions& options) {
  app.footer(std::string(kFooter));
  app.add_option("inputs", options.inputs, "Videos, folders, @lists, .jsonl or .csv manifests");
  app.add_option("--root", options.root, "Keys of listed paths begin below this folder")
      ->type_name("DIR");
  app.add_option("--out", options.out, "Folder of the shards, or s3://BUCKET/PREFIX")
      ->type_name("DIR");
  app.add_option("--staging", options.staging,
                 "With s3://: pack into this folder first, and keep it; after a failure the same "
                 "command goes on there; default a folder below $TMPDIR that is removed")
      ->type_name("DIR");
  add_shard_flags(app, options);
  add_split_flags(app, options);
  add_check_flags(app, options);
  add_run_flags(app, options);
}

}  // namespace shardreel::tools
