#include "loader/read/http/hf_target.h"

#include <fmt/format.h>

#include <fstream>
#include <utility>

#include "loader/read/http/http_target.h"
#include "loader/read/http/http_url.h"

namespace shardreel {
namespace {

std::string token_of(const AwsEnvironment& environment) {
  if (const auto token = environment("HF_TOKEN")) return *token;
  std::string path = environment("HF_TOKEN_PATH").value_or("");
  if (path.empty()) {
    const std::string home = environment("HOME").value_or("") + "/.cache/huggingface";
    path = environment("HF_HOME").value_or(home) + "/token";
  }
  std::ifstream file(path);
  std::string token;
  std::getline(file, token);
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  return token;
}

}  // namespace

Result<std::string> hf_url(std::string_view url, const std::string& endpoint) {
  const std::string given(url);
  url.remove_prefix(url.find("://") + 3);
  std::string kind;
  for (const std::string_view word : {std::string_view("datasets/"), std::string_view("spaces/")}) {
    if (url.starts_with(word)) {
      kind = word;
      url.remove_prefix(word.size());
    }
  }
  const std::size_t owner_end = url.find('/');
  const std::size_t name_end =
      owner_end == std::string_view::npos ? owner_end : url.find('/', owner_end + 1);
  if (owner_end == 0 || name_end == std::string_view::npos || name_end == owner_end + 1 ||
      name_end + 1 == url.size()) {
    return Error{
        ErrorCode::kInvalidOption,
        fmt::format("'{}' names no file; expected hf://datasets/OWNER/NAME[@REVISION]/PATH", given),
        {},
        {},
        {}};
  }
  std::string_view name = url.substr(owner_end + 1, name_end - owner_end - 1);
  std::string_view revision = "main";
  if (const std::size_t at = name.find('@'); at != std::string_view::npos) {
    revision = name.substr(at + 1);
    name = name.substr(0, at);
  }
  return fmt::format("{}/{}{}/{}/resolve/{}/{}", endpoint, kind,
                     percent_encode(url.substr(0, owner_end), false), percent_encode(name, false),
                     percent_encode(revision, false),
                     percent_encode(url.substr(name_end + 1), true));
}

Result<std::shared_ptr<ObjectTarget>> hf_target(const std::string& url, bool anonymous,
                                                const AwsEnvironment& environment) {
  auto resolved = hf_url(url, environment("HF_ENDPOINT").value_or("https://huggingface.co"));
  if (!resolved) return std::move(resolved.error());
  std::vector<std::string> headers;
  const std::string token = anonymous ? std::string() : token_of(environment);
  if (!token.empty()) headers.push_back("Authorization: Bearer " + token);
  return http_target(*resolved, std::move(headers));
}

}  // namespace shardreel
