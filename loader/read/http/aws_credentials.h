#pragma once
// Where AWS credentials come from, in the usual order.

#include <functional>
#include <stop_token>
#include <string>

#include "loader/read/http/aws_profile.h"
#include "loader/read/http/http_exchange.h"
#include "loader/read/http/sigv4.h"
#include "shardreel/error.h"

namespace shardreel {

/// What the search may do besides reading variables and files.
struct AwsReach {
  std::function<Result<HttpAnswer>(HttpRequest)> http;
  std::function<Result<std::string>(const std::string&)> command;  ///< its standard output
};

/// Search: environment (AWS_ACCESS_KEY_ID, …), web identity (AWS_WEB_IDENTITY_TOKEN_FILE with
/// AWS_ROLE_ARN), the profile (keys, role_arn with source_profile, credential_process), the
/// container endpoint, the instance metadata service (version 2). The first that is set up decides:
/// its failure is the failure. kNotPermitted, naming all places, when none is. Waits.
Result<AwsCredentials> find_aws_credentials(const AwsEnvironment& environment,
                                            const AwsFiles& files, const AwsPlace& place,
                                            const AwsReach& reach);

}  // namespace shardreel
