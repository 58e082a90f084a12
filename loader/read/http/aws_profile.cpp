#include "loader/read/http/aws_profile.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace shardreel {
namespace {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r";
  const std::size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::optional<std::string> find_in(const IniSections& sections, const std::string& section,
                                   const std::string& setting) {
  const auto found = sections.find(section);
  if (found == sections.end()) return {};
  const auto value = found->second.find(setting);
  if (value == found->second.end() || value->second.empty()) return {};
  return value->second;
}

/// The config file writes "[profile NAME]", except for the default.
std::string config_section(const std::string& profile) {
  return profile == "default" ? profile : "profile " + profile;
}

}  // namespace

AwsEnvironment process_aws_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr || *value == '\0') return {};
    return value;
  };
}

IniSections parse_ini(std::string_view text) {
  IniSections sections;
  std::map<std::string, std::string>* section = nullptr;
  std::string outer;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::string_view inside = trimmed(line);
    if (inside.empty() || inside.front() == '#' || inside.front() == ';') continue;
    if (inside.front() == '[') {
      const std::size_t close = inside.find(']');
      if (close == std::string_view::npos) continue;
      section = &sections[std::string(trimmed(inside.substr(1, close - 1)))];
      outer.clear();
      continue;
    }
    const std::size_t equals = inside.find('=');
    if (section == nullptr || equals == std::string_view::npos) continue;
    const std::string name(trimmed(inside.substr(0, equals)));
    const std::string value(trimmed(inside.substr(equals + 1)));
    const bool nested = line.front() == ' ' || line.front() == '\t';
    if (nested && !outer.empty()) {
      (*section)[outer + "." + name] = value;
      continue;
    }
    (*section)[name] = value;
    outer = value.empty() ? name : std::string();
  }
  return sections;
}

AwsFiles::AwsFiles(const AwsEnvironment& environment) {
  const std::string home = environment("HOME").value_or("") + "/.aws/";
  config_ = parse_ini(read_text(environment("AWS_CONFIG_FILE").value_or(home + "config")));
  credentials_ = parse_ini(
      read_text(environment("AWS_SHARED_CREDENTIALS_FILE").value_or(home + "credentials")));
}

AwsFiles::AwsFiles(std::string_view config, std::string_view credentials)
    : config_(parse_ini(config)), credentials_(parse_ini(credentials)) {}

bool AwsFiles::has_profile(const std::string& name) const {
  return credentials_.contains(name) || config_.contains(config_section(name));
}

std::optional<std::string> AwsFiles::profile(const std::string& name,
                                             const std::string& setting) const {
  if (auto value = find_in(credentials_, name, setting)) return value;
  return find_in(config_, config_section(name), setting);
}

std::optional<std::string> AwsFiles::service(const std::string& profile_name,
                                             const std::string& service_name,
                                             const std::string& setting) const {
  const auto services = profile(profile_name, "services");
  if (!services) return {};
  return find_in(config_, "services " + *services, service_name + "." + setting);
}

AwsPlace find_aws_place(const AwsEnvironment& environment, const AwsFiles& files) {
  AwsPlace place;
  place.profile = environment("AWS_PROFILE").value_or("default");
  const auto first = [](std::initializer_list<std::optional<std::string>> values) {
    for (const auto& value : values) {
      if (value) return *value;
    }
    return std::string();
  };
  place.region = first({environment("AWS_REGION"), environment("AWS_DEFAULT_REGION"),
                        files.profile(place.profile, "region"), "us-east-1"});
  const auto all = environment("AWS_ENDPOINT_URL");
  const auto of_profile = files.profile(place.profile, "endpoint_url");
  place.endpoint = first({environment("AWS_ENDPOINT_URL_S3"), all,
                          files.service(place.profile, "s3", "endpoint_url"), of_profile});
  place.sts_endpoint = first({environment("AWS_ENDPOINT_URL_STS"), all,
                              files.service(place.profile, "sts", "endpoint_url"), of_profile,
                              "https://sts." + place.region + ".amazonaws.com"});
  return place;
}

}  // namespace shardreel
