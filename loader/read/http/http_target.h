#pragma once
// Objects at plain http and https URLs.

#include <memory>
#include <string>
#include <vector>

#include "loader/read/http/object_target.h"

namespace shardreel {

/// Ask for `url` with the user's own headers; a user and password in the URL become a basic
/// Authorization header unless the headers have one.
Result<std::shared_ptr<ObjectTarget>> http_target(const std::string& url,
                                                  std::vector<std::string> headers);

/// Replace `${NAME}` in header lines by the environment's value; an unset variable is an error that
/// names it, and a line that is no "Name: value" too.
Result<std::vector<std::string>> expand_headers(const std::vector<std::string>& lines);

}  // namespace shardreel
