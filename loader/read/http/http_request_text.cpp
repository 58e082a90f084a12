#include "loader/read/http/http_request_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace shardreel {
namespace {

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

}  // namespace

Result<std::string> request_text(const HttpRequest& request, const HttpUrl& url) {
  std::array<std::pair<std::string_view, std::string>, 3> own{
      {{"Host", url.authority()}, {"User-Agent", "shardreel"}, {"Accept", "*/*"}}};
  std::string given;
  for (const std::string_view line : request.headers) {
    // An own line for whatever follows: it could be another request.
    if (line.find_first_of(std::string_view("\r\n\0", 3)) != line.npos) {
      return Error{ErrorCode::kInvalidOption, "a header has a line break", {}, {}, {}};
    }
    const std::size_t end = std::min(line.find_first_of(":;"), line.size());
    const std::string name = lower_case(line.substr(0, end));
    const std::size_t value = line.find_first_not_of(" \t", std::min(end + 1, line.size()));
    const bool empty = value == line.npos;
    for (auto& [ours, text] : own) {
      if (lower_case(ours) == name) text.clear();
    }
    if (!empty && line[end] == ':') {
      given += fmt::format("{}\r\n", line);
    } else if (empty && end < line.size() && line[end] == ';') {
      given += fmt::format("{}:\r\n", line.substr(0, end));
    }
  }
  std::string text = fmt::format("{} {}{}{} HTTP/1.1\r\n", request.method, url.path,
                                 url.query.empty() ? "" : "?", url.query);
  for (const auto& [name, value] : own) {
    if (!value.empty()) text += fmt::format("{}: {}\r\n", name, value);
  }
  return text + given + "\r\n";
}

bool needs_libcurl(const HttpRequest& request, const HttpUrl& url) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyz0123456789-._:[]";
  if (url.host.find_first_not_of(kPlain) != url.host.npos) return true;
  // Behind https a proxy makes a tunnel, and is out of the way.
  return request.use_proxy && url.scheme == "http" &&
         (is_set("http_proxy") || is_set("all_proxy") || is_set("ALL_PROXY"));
}

std::string link_key(const HttpRequest& request, const HttpUrl& url) {
  // A connection that was made to an address nobody checked must not be used for what needs it.
  return fmt::format("{} {}{}{}", url.origin(), request.use_proxy ? 'p' : '-',
                     request.refuse_machine ? 'm' : '-', request.refuse_link ? 'l' : '-');
}

}  // namespace shardreel
