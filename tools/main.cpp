// The program `shardreel`: reads the command line and calls one subcommand.
#include <archive.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
extern "C" {
#include <libavcodec/version.h>
#include <libavformat/version.h>
#include <libavutil/avutil.h>
}
#include <zimg.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/version.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "tools/commands/feed.h"
#include "tools/commands/index_command.h"
#include "tools/commands/inspect.h"
#include "tools/commands/pack.h"
#include "tools/commands/plan.h"
#include "tools/commands/text_json.h"
#include "tools/commands/verify.h"

namespace {

using shardreel::tools::FeedCommand;
using shardreel::tools::IndexCommand;
using shardreel::tools::InspectCommand;
using shardreel::tools::PackOptions;
using shardreel::tools::PlanCommand;
using shardreel::tools::VerifyCommand;

std::string zimg_version() {
  unsigned major = 0, minor = 0, micro = 0;
  zimg_get_version_info(&major, &minor, &micro);
  return fmt::format("{}.{}.{}", major, minor, micro);
}

/// The versions that run (Boost is only headers: the one built with).
nlohmann::ordered_json versions() {
  std::string boost = BOOST_LIB_VERSION;
  std::replace(boost.begin(), boost.end(), '_', '.');
  return {{"shardreel", SHARDREEL_VERSION},
          {"ffmpeg", av_version_info()},
          {"libarchive", std::string(archive_version_string())},
          {"zimg", zimg_version()},
          {"boost", boost}};
}

int print_versions(bool json) {
  const auto all = versions();
  if (json) {
    fmt::print("{}\n", all.dump());
  } else {
    for (const auto& [name, version] : all.items())
      fmt::print("{} {}\n", name, version.get<std::string>());
  }
  return std::fflush(stdout) == 0 ? 0 : 1;
}

int run(int argc, char** argv, std::string& last_step) {
  CLI::App app("Streaming video loader for WebDataset tar shards.", "shardreel");
  app.footer("Exit status: 0 good, 1 the data or the run failed, 2 usage.");
  bool version = false, version_json = false;
  app.add_flag("--version", version, "Print the versions of the program and its libraries");
  app.add_flag("--json", version_json, "With --version: as one JSON object");
  app.require_subcommand(0, 1);

  PackOptions pack;
  pack.tool = "shardreel " SHARDREEL_VERSION;
  CLI::App* pack_app =
      app.add_subcommand("pack", "Put videos, with the files beside them, into tar shards");
  add_pack_flags(*pack_app, pack);

  IndexCommand index;
  CLI::App* index_app =
      app.add_subcommand("index", "Write down where samples lie and what their videos are");
  add_index_flags(*index_app, index);

  FeedCommand feed;
  CLI::App* feed_app = app.add_subcommand("feed", "Run the loader as a training job would");
  feed_app->footer(
      "After SIGINT or SIGTERM the summary is printed and the exit status is 130 or 143.");
  add_option_flags(*feed_app, feed.flags);
  feed_app->add_option("--max-batches", feed.max_batches, "End each lane after so many batches")
      ->check(CLI::PositiveNumber);
  feed_app->add_option("--clips-out", feed.clips_out, "Write one JSON line for each clip delivered")
      ->type_name("FILE.jsonl");
  feed_app
      ->add_option("--state-out", feed.state_out,
                   "Write where the run stands at its end, also after a signal")
      ->type_name("FILE.json");
  feed_app->add_option("--resume", feed.resume, "Go on where --state-out says that a run stood")
      ->type_name("FILE.json");
  feed_app->add_flag("!--no-pixel-digest", feed.pixel_digest,
                     "Leave out the digest of the pixels, which takes time in every batch");
  feed_app->add_flag("--json", feed.json, "Print one JSON object on standard output");

  PlanCommand plan;
  CLI::App* plan_app =
      app.add_subcommand("plan", "Print the memory plan of these options; nothing is fed");
  add_option_flags(*plan_app, plan.flags);
  plan_app
      ->add_option("--assume-video", plan.assume_video,
                   "Plan a GPU's decoders for such videos, not for those in the index")
      ->type_name("WxH:CODEC[:BITS]");
  plan_app->add_flag("--json", plan.json, "Print one JSON object on standard output");

  InspectCommand inspect;
  CLI::App* inspect_app = app.add_subcommand("inspect", "Show what is in shards");
  add_inspect_flags(*inspect_app, inspect);

  VerifyCommand verify;
  CLI::App* verify_app = app.add_subcommand("verify", "Say what is wrong with shards");
  add_verify_flags(*verify_app, verify);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // 0 for --help; every other status of the parser is a matter of usage.
    if (app.exit(error) == 0) return shardreel::tools::kExitGood;
    // The parser stopped where the error is, so flags behind it were not seen.
    if (std::find(argv + 1, argv + argc, std::string_view("--json")) != argv + argc) {
      shardreel::tools::print_error_json(
          {shardreel::ErrorCode::kInvalidOption, error.what(), {}, {}, {}});
    }
    return shardreel::tools::kExitUsage;
  }
  if (version) return print_versions(version_json);
  if (pack_app->parsed()) return run_pack(pack, &last_step);
  if (index_app->parsed()) return run_index(index);
  if (feed_app->parsed()) return run_feed(feed);
  if (plan_app->parsed()) return run_plan(plan);
  if (inspect_app->parsed()) return run_inspect(inspect);
  if (verify_app->parsed()) return run_verify(verify);
  if (version_json) {
    shardreel::tools::print_error_json(
        {shardreel::ErrorCode::kInvalidOption, "no subcommand is given", {}, {}, {}});
  }
  fmt::print(stderr, "{}", app.help());
  return shardreel::tools::kExitUsage;
}

}  // namespace

/// A file opened later must not become standard input, output or error of a program started
/// without.
void fill_standard_files() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) std::_Exit(1);
  }
}

int main(int argc, char** argv) {
  fill_standard_files();
  try {
    std::string last_step;  // see run_pack
    const int status = run(argc, argv, last_step);
    if (last_step.empty()) return status;
    std::fflush(nullptr);
    const bool deleted = unlink(last_step.c_str()) == 0;
    std::_Exit(deleted ? status : shardreel::tools::kExitFailed);
  } catch (const std::exception& error) {
    fmt::print(stderr, "shardreel: {}\n", error.what());
    return shardreel::tools::kExitFailed;
  }
}
