#include "loader/read/http/http_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace shardreel {
namespace {

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += j <= count ? kDigits[group >> (18 - 6 * j) & 63U] : '=';
    }
  }
  return out;
}

class HttpTarget final : public ObjectTarget {
 public:
  HttpTarget(std::string name, PreparedRequest request)
      : name_(std::move(name)), request_(std::move(request)) {}

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] std::string address() const override { return request_.url.text(); }
  void prepare(const std::string& /*method*/, Ready ready) override { ready(request_); }
  bool refused(const std::string& /*reason*/) override { return false; }

 private:
  const std::string name_;
  const PreparedRequest request_;
};

}  // namespace

Result<std::shared_ptr<ObjectTarget>> http_target(const std::string& url,
                                                  std::vector<std::string> headers) {
  auto parsed = parse_http_url(url);
  if (!parsed) return std::move(parsed.error());
  const bool given = std::ranges::any_of(headers, [](const std::string& line) {
    return lower_case(line).starts_with("authorization:");
  });
  if (!given && (!parsed->user.empty() || !parsed->password.empty())) {
    headers.push_back("Authorization: Basic " + base64(parsed->user + ":" + parsed->password));
  }
  return std::shared_ptr<ObjectTarget>(std::make_shared<HttpTarget>(
      redacted(url), PreparedRequest{std::move(*parsed), std::move(headers)}));
}

Result<std::vector<std::string>> expand_headers(const std::vector<std::string>& lines) {
  std::vector<std::string> out;
  for (std::string_view line : lines) {
    const std::size_t colon = line.find(':');
    if (colon == 0 || colon == std::string_view::npos ||
        line.find_first_of("\r\n") != std::string_view::npos) {
      return Error{ErrorCode::kInvalidOption,
                   fmt::format("an entry of http_headers is no 'Name: value' (it begins with '{}')",
                               line.substr(0, std::min<std::size_t>(colon, 12))),
                   {},
                   {},
                   {}};
    }
    std::string expanded;
    while (true) {
      const std::size_t begin = line.find("${");
      const std::size_t end = begin == std::string_view::npos ? begin : line.find('}', begin);
      expanded += line.substr(0, end == std::string_view::npos ? end : begin);
      if (end == std::string_view::npos) break;
      const std::string name(line.substr(begin + 2, end - begin - 2));
      const char* value = std::getenv(name.c_str());
      if (value == nullptr) {
        return Error{ErrorCode::kInvalidOption,
                     fmt::format("http_headers uses ${{{}}}, but the environment has none", name),
                     {},
                     {},
                     {}};
      }
      expanded += value;
      line.remove_prefix(end + 1);
    }
    // curl drops a header without a value; an empty one is written with ';'.
    out.push_back(std::move(expanded));
  }
  return out;
}

}  // namespace shardreel
