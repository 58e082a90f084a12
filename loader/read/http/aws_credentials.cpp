#include "loader/read/http/aws_credentials.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cctype>
#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "loader/read/http/http_url.h"
#include "loader/read/http/range_answer.h"

namespace shardreel {
namespace {

constexpr int kMostRoles = 5;  // profiles that stand on each other

Error refused(std::string message) {
  return {ErrorCode::kNotPermitted, std::move(message), {}, {}, {}};
}

/// "2026-11-21T12:00:00Z"; nothing when it is no such time.
std::optional<std::chrono::system_clock::time_point> parse_time(const std::string& text) {
  std::tm utc{};
  if (strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &utc) == nullptr) return {};
  return std::chrono::system_clock::from_time_t(timegm(&utc));
}

std::string between(std::string_view text, std::string_view tag) {
  const std::string open = fmt::format("<{}>", tag);
  const std::size_t begin = text.find(open);
  if (begin == std::string_view::npos) return {};
  const std::size_t end = text.find(fmt::format("</{}>", tag), begin);
  if (end == std::string_view::npos) return {};
  return std::string(text.substr(begin + open.size(), end - begin - open.size()));
}

/// Credentials as the container endpoint, the metadata service and credential_process write them.
Result<AwsCredentials> from_json(const std::string& text, const char* token_name,
                                 const std::string& source) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  AwsCredentials made;
  const auto word = [&](const char* name) {
    const bool there = json.is_object() && json.contains(name) && json[name].is_string();
    return there ? json[name].get<std::string>() : std::string();
  };
  made.access_key = word("AccessKeyId");
  made.secret_key = word("SecretAccessKey");
  made.session_token = word(token_name);
  made.expires = parse_time(word("Expiration"));
  made.source = source;
  if (made.access_key.empty() || made.secret_key.empty()) {
    return refused(source + " gave no AccessKeyId and SecretAccessKey");
  }
  return made;
}

class Search {
 public:
  Search(const AwsEnvironment& environment, const AwsFiles& files, const AwsPlace& place,
         const AwsReach& reach)
      : environment_(environment), files_(files), place_(place), reach_(reach) {}

  Result<AwsCredentials> run() {
    if (const auto key = environment_("AWS_ACCESS_KEY_ID")) {
      AwsCredentials made;
      made.access_key = *key;
      made.secret_key = environment_("AWS_SECRET_ACCESS_KEY").value_or("");
      made.session_token = environment_("AWS_SESSION_TOKEN").value_or("");
      made.source = "the environment";
      if (made.secret_key.empty()) {
        return refused("AWS_ACCESS_KEY_ID is set, but AWS_SECRET_ACCESS_KEY is not");
      }
      return made;
    }
    const auto token_file = environment_("AWS_WEB_IDENTITY_TOKEN_FILE");
    const auto role = environment_("AWS_ROLE_ARN");
    if (token_file && role) {
      return web_identity(*token_file, *role,
                          environment_("AWS_ROLE_SESSION_NAME").value_or("shardreel"));
    }
    if (files_.has_profile(place_.profile)) {
      if (auto made = of_profile(place_.profile, 0)) return std::move(*made);
    } else if (environment_("AWS_PROFILE")) {
      return refused(
          fmt::format("AWS_PROFILE names the profile '{}', which no file has", place_.profile));
    }
    if (auto made = container()) return std::move(*made);
    return metadata();
  }

 private:
  static Result<AwsCredentials> keys_in(const std::string& xml, const std::string& source) {
    AwsCredentials made;
    made.access_key = between(xml, "AccessKeyId");
    made.secret_key = between(xml, "SecretAccessKey");
    made.session_token = between(xml, "SessionToken");
    made.expires = parse_time(between(xml, "Expiration"));
    made.source = source;
    if (made.access_key.empty() || made.secret_key.empty()) {
      return refused(source + ": the answer has no credentials");
    }
    return made;
  }

  /// Ask the token service; `sign_with` is null for a web identity, which proves itself.
  Result<AwsCredentials> ask_sts(const std::string& form, const AwsCredentials* sign_with,
                                 const std::string& source) {
    auto url = parse_http_url(place_.sts_endpoint);
    if (!url) return std::move(url.error());
    HttpRequest request;
    request.url = url->text();
    request.method = "POST";
    request.body = form;
    request.headers = {"Content-Type: application/x-www-form-urlencoded"};
    if (sign_with != nullptr) {
      for (std::string& line : sign_v4(*sign_with, {place_.region, "sts"}, "POST", *url,
                                       request.headers, form, std::chrono::system_clock::now())) {
        request.headers.push_back(std::move(line));
      }
    }
    auto answer = reach_.http(std::move(request));
    if (!answer) return std::move(answer.error());
    if (answer->head.status != 200) {
      return refused(fmt::format("{}: {} answered with status {}: {}", source, place_.sts_endpoint,
                                 answer->head.status, server_reason(answer->body)));
    }
    return keys_in(answer->body, source);
  }

  Result<AwsCredentials> web_identity(const std::string& file, const std::string& role,
                                      const std::string& session) {
    std::ifstream stream(file);
    std::string token{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    while (!token.empty() && std::isspace(static_cast<unsigned char>(token.back())) != 0) {
      token.pop_back();
    }
    if (token.empty()) return refused("the web identity's token file " + file + " is empty");
    return ask_sts(fmt::format("Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}"
                               "&RoleSessionName={}&WebIdentityToken={}",
                               percent_encode(role, false), percent_encode(session, false),
                               percent_encode(token, false)),
                   nullptr, "the role " + role + " by web identity");
  }

  /// Nothing when the profile says nothing of credentials.
  std::optional<Result<AwsCredentials>> of_profile(const std::string& name, int depth) {
    if (depth > kMostRoles) return refused("profiles name each other as source_profile");
    const auto role = files_.profile(name, "role_arn");
    const auto source = files_.profile(name, "source_profile");
    const std::string session = files_.profile(name, "role_session_name").value_or("shardreel");
    if (role && files_.profile(name, "web_identity_token_file")) {
      return web_identity(*files_.profile(name, "web_identity_token_file"), *role, session);
    }
    if (role && (source || files_.profile(name, "credential_source"))) {
      auto base = source == name ? keys_of(name)
                  : source       ? of_profile(*source, depth + 1)
                                 : by_source(*files_.profile(name, "credential_source"));
      if (!base) {
        return refused(fmt::format("the profile '{}' has no credentials", source.value_or(name)));
      }
      if (!*base) return base;
      std::string form =
          fmt::format("Action=AssumeRole&Version=2011-06-15&RoleArn={}&RoleSessionName={}",
                      percent_encode(*role, false), percent_encode(session, false));
      if (const auto id = files_.profile(name, "external_id")) {
        form += "&ExternalId=" + percent_encode(*id, false);
      }
      if (const auto seconds = files_.profile(name, "duration_seconds")) {
        form += "&DurationSeconds=" + percent_encode(*seconds, false);
      }
      return ask_sts(form, &**base, fmt::format("the role {} of profile '{}'", *role, name));
    }
    if (auto keys = keys_of(name)) return keys;
    if (const auto command = files_.profile(name, "credential_process")) {
      auto output = reach_.command(*command);
      if (!output) return std::move(output.error());
      return from_json(*output, "SessionToken", "the credential_process of profile '" + name + "'");
    }
    return std::nullopt;
  }

  std::optional<Result<AwsCredentials>> keys_of(const std::string& name) {
    const auto key = files_.profile(name, "aws_access_key_id");
    const auto secret = files_.profile(name, "aws_secret_access_key");
    if (!key || !secret) return std::nullopt;
    AwsCredentials made;
    made.access_key = *key;
    made.secret_key = *secret;
    made.session_token = files_.profile(name, "aws_session_token").value_or("");
    made.source = "the profile '" + name + "'";
    return Result<AwsCredentials>(std::move(made));
  }

  std::optional<Result<AwsCredentials>> by_source(const std::string& source) {
    if (source == "EcsContainer") return container();
    if (source == "Ec2InstanceMetadata") return metadata();
    return refused("credential_source '" + source + "' is not known");
  }

  std::optional<Result<AwsCredentials>> container() {
    auto url = environment_("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if (const auto path = environment_("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) {
      url = "http://169.254.170.2" + *path;
    }
    if (!url) return std::nullopt;
    std::string token = environment_("AWS_CONTAINER_AUTHORIZATION_TOKEN").value_or("");
    if (const auto file = environment_("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
      std::ifstream stream(*file);
      std::getline(stream, token);
    }
    auto body = get(*url, token.empty() ? "" : "Authorization: " + token, "the container endpoint");
    if (!body) return std::move(body.error());
    return from_json(*body, "Token", "the container endpoint");
  }

  Result<AwsCredentials> metadata() {
    const std::string source = "the instance metadata service";
    if (environment_("AWS_EC2_METADATA_DISABLED").value_or("") == "true") return nowhere();
    const std::string root =
        environment_("AWS_EC2_METADATA_SERVICE_ENDPOINT").value_or("http://169.254.169.254");
    HttpRequest ask;
    ask.url = root + "/latest/api/token";
    ask.method = "PUT";
    ask.headers = {"X-aws-ec2-metadata-token-ttl-seconds: 21600"};
    ask.use_proxy = false;
    auto token = reach_.http(std::move(ask));
    if (!token || token->head.status != 200) return nowhere();
    const std::string header = "X-aws-ec2-metadata-token: " + token->body;
    const std::string path = root + "/latest/meta-data/iam/security-credentials/";
    auto role = get(path, header, source);
    if (!role) return std::move(role.error());
    auto body = get(path + role->substr(0, role->find('\n')), header, source);
    if (!body) return std::move(body.error());
    return from_json(*body, "Token", source);
  }

  static Error nowhere() {
    return refused(
        "no AWS credentials: not in the environment (AWS_ACCESS_KEY_ID), no web identity, none in "
        "the profile's files, no container endpoint, no instance metadata; for public buckets set "
        "anonymous = true");
  }

  Result<std::string> get(const std::string& url, const std::string& header,
                          const std::string& source) {
    HttpRequest request;
    request.url = url;
    if (!header.empty()) request.headers = {header};
    request.use_proxy = false;
    auto answer = reach_.http(std::move(request));
    if (!answer) return std::move(answer.error());
    if (answer->head.status != 200) {
      return refused(fmt::format("{} answered with status {}", source, answer->head.status));
    }
    return std::move(answer->body);
  }

  const AwsEnvironment& environment_;
  const AwsFiles& files_;
  const AwsPlace& place_;
  const AwsReach& reach_;
};

}  // namespace

Result<AwsCredentials> find_aws_credentials(const AwsEnvironment& environment,
                                            const AwsFiles& files, const AwsPlace& place,
                                            const AwsReach& reach) {
  return Search(environment, files, place, reach).run();
}

}  // namespace shardreel
