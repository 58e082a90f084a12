#pragma once
// Signatures of AWS requests, version 4: pure. libcurl's own are wrong for S3's keys and queries.

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "loader/read/http/http_url.h"

namespace shardreel {

struct AwsCredentials {
  std::string access_key, secret_key;
  std::string session_token;                                     ///< empty = none
  std::optional<std::chrono::system_clock::time_point> expires;  ///< nothing = never
  std::string source;                                            ///< where they came from, to show
};

struct SigningScope {
  std::string region;   ///< e.g. "us-east-1"
  std::string service;  ///< "s3" or "sts"
};

/// Return the header lines that sign a request: x-amz-date, x-amz-content-sha256,
/// x-amz-security-token, Authorization. `url` must be sent exactly as it is (path as encoded);
/// `headers` ("Name: value") are signed too and not returned.
[[nodiscard]] std::vector<std::string> sign_v4(const AwsCredentials& credentials,
                                               const SigningScope& scope, std::string_view method,
                                               const HttpUrl& url,
                                               const std::vector<std::string>& headers,
                                               std::string_view body,
                                               std::chrono::system_clock::time_point now);

}  // namespace shardreel
