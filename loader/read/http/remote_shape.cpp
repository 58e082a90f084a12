#include "loader/read/http/remote_shape.h"

#include <algorithm>
#include <array>

#include "loader/read/http/http_url.h"

namespace shardreel {
namespace {

constexpr std::array<std::string_view, 5> kSchemes{"http", "https", "s3", "gs", "hf"};

}  // namespace

bool is_remote(std::string_view url) {
  const std::size_t end = url.find("://");
  return end != std::string_view::npos &&
         std::ranges::find(kSchemes, lower_case(url.substr(0, end))) != kSchemes.end();
}

bool may_be_remote(const std::string& spec) {
  // A pattern may spell its scheme in braces, so any "://" counts; too much only costs read-ahead.
  return spec.starts_with('@') || spec.find("${") != std::string::npos ||
         (spec.find("://") != std::string::npos && !spec.starts_with("file:") &&
          !spec.starts_with("pipe:"));
}

}  // namespace shardreel
