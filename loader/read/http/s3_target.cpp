#include "loader/read/http/s3_target.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

namespace shardreel {
namespace {

bool is_host_name(std::string_view bucket) {
  return !bucket.empty() && std::ranges::all_of(bucket, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

class S3Target final : public ObjectTarget {
 public:
  S3Target(std::string name, HttpUrl url, std::string region,
           std::shared_ptr<CredentialStore> store)
      : name_(std::move(name)),
        url_(std::move(url)),
        region_(std::move(region)),
        store_(std::move(store)) {}

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }

  [[nodiscard]] std::string address() const override { return url_.text(); }

  void prepare(const std::string& method, Ready ready) override {
    if (!store_) return ready(PreparedRequest{url_, {}});
    // The fetch that waits keeps this target alive.
    store_->get([this, method, ready = std::move(ready)](Result<AwsCredentials> credentials) {
      if (!credentials) return ready(std::move(credentials.error()));
      used_ = *credentials;
      ready(PreparedRequest{url_, sign_v4(*credentials, {region_, "s3"}, method, url_, {}, {},
                                          std::chrono::system_clock::now())});
    });
  }

  bool refused(const std::string& reason) override {
    const bool credentials = reason.find("ExpiredToken") != std::string::npos ||
                             reason.find("InvalidToken") != std::string::npos ||
                             reason.find("TokenRefreshRequired") != std::string::npos;
    if (!store_ || !used_ || !credentials || forgotten_ >= kMostForgotten) return false;
    ++forgotten_;
    return store_->forget(*used_);
  }

  [[nodiscard]] bool follows_redirects() const noexcept override { return store_ == nullptr; }

 private:
  static constexpr int kMostForgotten = 3;
  const std::string name_;
  const HttpUrl url_;
  const std::string region_;
  const std::shared_ptr<CredentialStore> store_;  // shared by all targets
  // On the loop's thread only.
  std::optional<AwsCredentials> used_;
  int forgotten_ = 0;
};

}  // namespace

Result<HttpUrl> s3_url(std::string_view url, const S3Place& place) {
  const std::size_t scheme = url.find("://");
  const std::string_view rest = url.substr(scheme + 3);
  const std::size_t slash = rest.find('/');
  const std::string bucket(rest.substr(0, slash));
  const std::string_view key = slash == std::string_view::npos ? "" : rest.substr(slash + 1);
  if (bucket.empty() || key.empty() || bucket.find_first_of("@:?#%\\ ") != std::string::npos) {
    return Error{ErrorCode::kInvalidOption,
                 fmt::format("'{}' names no object; expected {}BUCKET/KEY", redacted(url),
                             url.substr(0, scheme + 3)),
                 {},
                 {},
                 {}};
  }
  const bool own = place.endpoint.empty();
  auto parsed = parse_http_url(own ? fmt::format("https://s3.{}.amazonaws.com", place.region)
                                   : place.endpoint);
  if (!parsed) return parsed;
  std::string path = parsed->path == "/" ? "" : parsed->path;
  if (own && is_host_name(bucket)) {
    parsed->host = fmt::format("{}.{}", bucket, parsed->host);
  } else {
    path = fmt::format("{}/{}", path, percent_encode(bucket, false));
  }
  parsed->path = fmt::format("{}/{}", path, percent_encode(key, true));
  parsed->query.clear();
  return parsed;
}

Result<std::shared_ptr<ObjectTarget>> s3_target(const std::string& url, const S3Place& place,
                                                std::shared_ptr<CredentialStore> store) {
  auto parsed = s3_url(url, place);
  if (!parsed) return std::move(parsed.error());
  return std::shared_ptr<ObjectTarget>(std::make_shared<S3Target>(redacted(url), std::move(*parsed),
                                                                  place.region, std::move(store)));
}

}  // namespace shardreel
