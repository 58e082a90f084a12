#include "tools/commands/option_flags.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <system_error>

namespace shardreel::tools {
namespace {

std::string dashed(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

Error invalid(std::string message) {
  return Error{ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

Result<LoaderOptions> read_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  // An empty file makes operator<< set failbit on `text`, so only the file's own state counts.
  if (file) text << file.rdbuf();
  if (!file) {
    return invalid(fmt::format("cannot read the options file '{}': {}", path,
                               std::generic_category().message(errno)));
  }
  auto options = LoaderOptions::from_json(text.str());
  if (!options) return invalid(fmt::format("in '{}':\n{}", path, options.error().message));
  return options;
}

}  // namespace

void add_option_flags(CLI::App& command, OptionFlags& flags) {
  command
      .add_option("urls", flags.urls, "Shards: paths with braces, `::`, @FILE, `-`, pipe:COMMAND")
      ->type_name("URLS");
  command.add_option("--config", flags.config, "A JSON object of options; flags win over it")
      ->type_name("FILE.json");
  for (const OptionInfo& info : option_table()) {
    if (info.name == "urls") continue;
    const auto remember = [&flags, name = info.name](const CLI::results_t& texts) {
      for (const std::string& text : texts) flags.given.emplace_back(name, text);
      return true;
    };
    CLI::Option* flag = command.add_option(
        "--" + dashed(info.name), remember,
        fmt::format("{} [{}; default {}]", info.help, info.values, info.initial));
    flag->type_name("VALUE")->group("Loader options")->expected(1)->allow_extra_args(false);
    // Only conditions and headers add up; anything else given twice is a mistake that must be seen.
    const bool adds_up = info.name == "filter" || info.name == "http_headers";
    flag->multi_option_policy(adds_up ? CLI::MultiOptionPolicy::TakeAll
                                      : CLI::MultiOptionPolicy::Throw);
  }
}

Result<LoaderOptions> read_options(const OptionFlags& flags) {
  LoaderOptions options;
  if (!flags.config.empty()) {
    auto from_file = read_config(flags.config);
    if (!from_file) return from_file;
    options = std::move(*from_file);
  }
  if (!flags.urls.empty()) options.input.urls = flags.urls;
  // What a flag gives replaces the file's list; it does not add to it.
  const auto given = [&](std::string_view name) {
    return std::any_of(flags.given.begin(), flags.given.end(),
                       [name](const auto& flag) { return flag.first == name; });
  };
  if (given("filter")) options.input.filter.clear();
  if (given("http_headers")) options.input.http_headers.clear();

  std::string problems;
  for (const auto& [name, text] : flags.given) {
    const auto set = set_option(options, name, text);
    if (!set) problems += fmt::format("{}{}", problems.empty() ? "" : "\n", set.error().message);
  }
  if (!problems.empty()) return invalid(problems);
  return options;
}

}  // namespace shardreel::tools
