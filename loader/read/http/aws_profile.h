#pragma once
// What AWS's environment variables and shared files say about endpoints, regions and profiles.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace shardreel {

/// Looks a variable up; empty counts as unset.
using AwsEnvironment = std::function<std::optional<std::string>(const std::string&)>;
[[nodiscard]] AwsEnvironment process_aws_environment();

/// Sections of an INI file, nested settings as "outer.inner" (e.g. "s3.endpoint_url").
using IniSections = std::map<std::string, std::map<std::string, std::string>>;
[[nodiscard]] IniSections parse_ini(std::string_view text);

/// The shared files, read once. Missing files are empty.
class AwsFiles {
 public:
  explicit AwsFiles(const AwsEnvironment& environment);
  AwsFiles(std::string_view config, std::string_view credentials);

  /// A profile's setting: the credentials file goes before the config file.
  [[nodiscard]] std::optional<std::string> profile(const std::string& name,
                                                   const std::string& setting) const;
  [[nodiscard]] bool has_profile(const std::string& name) const;
  /// A setting of a service in the profile's `services` section.
  [[nodiscard]] std::optional<std::string> service(const std::string& profile_name,
                                                   const std::string& service_name,
                                                   const std::string& setting) const;

 private:
  IniSections config_, credentials_;
};

/// What requests to S3 need besides credentials.
struct AwsPlace {
  std::string profile;  ///< chosen by AWS_PROFILE, or "default"
  std::string region;   ///< AWS_REGION, AWS_DEFAULT_REGION, the profile's, or "us-east-1"
  std::string
      endpoint;  ///< AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, the profile's; empty = AWS's own
  std::string
      sts_endpoint;  ///< AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, the profile's, or AWS's own
};
[[nodiscard]] AwsPlace find_aws_place(const AwsEnvironment& environment, const AwsFiles& files);

}  // namespace shardreel
