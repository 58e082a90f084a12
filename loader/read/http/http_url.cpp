#include "loader/read/http/http_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

namespace shardreel {
namespace {

struct CloseUrl {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, CloseUrl>;

Error bad_url(std::string_view url, std::string_view why) {
  return {ErrorCode::kInvalidOption,
          fmt::format("'{}' is no http or https URL: {}", redacted(url), why),
          {},
          {},
          {}};
}

std::string part(CURLU* url, CURLUPart which, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, which, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

/// What no URL may hold is encoded; what is encoded already stays.
std::string encode_forbidden(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7f || std::string_view("\"<>\\^`{|}").find(c) != text.npos) {
      out += fmt::format("%{:02X}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

Result<HttpUrl> in_parts(CURLU* handle, std::string_view given) {
  HttpUrl url;
  url.scheme = lower_case(part(handle, CURLUPART_SCHEME));
  if (url.scheme != "http" && url.scheme != "https") {
    return bad_url(given, "the scheme is " + url.scheme);
  }
  url.host = lower_case(part(handle, CURLUPART_HOST));
  url.port = part(handle, CURLUPART_PORT, CURLU_DEFAULT_PORT);
  url.path = part(handle, CURLUPART_PATH);
  url.query = part(handle, CURLUPART_QUERY);
  url.user = part(handle, CURLUPART_USER, CURLU_URLDECODE);
  url.password = part(handle, CURLUPART_PASSWORD, CURLU_URLDECODE);
  if (url.host.empty()) return bad_url(given, "it has no host");
  return url;
}

bool shown(std::string_view parameter) {
  constexpr std::array kHarmless{"versionId", "versionid", "generation", "revision",
                                 "download",  "alt",       "partNumber"};
  return std::ranges::find(kHarmless, parameter) != kHarmless.end();
}

std::string hide_values(std::string_view query) {
  std::string out;
  while (true) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view parameter = query.substr(0, end);
    const std::size_t equals = parameter.find('=');
    if (equals == std::string_view::npos || shown(parameter.substr(0, equals))) {
      out += equals == std::string_view::npos ? "***" : parameter;
    } else {
      out += parameter.substr(0, equals + 1);
      out += "***";
    }
    if (end == query.size()) return out;
    out += '&';
    query.remove_prefix(end + 1);
  }
}

}  // namespace

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

std::string HttpUrl::authority() const {
  const bool usual = (scheme == "http" && port == "80") || (scheme == "https" && port == "443");
  return usual ? host : host + ":" + port;
}

std::string HttpUrl::text() const {
  std::string out = scheme + "://" + authority() + path;
  if (!query.empty()) out.append("?").append(query);
  return out;
}

std::string HttpUrl::origin() const { return scheme + "://" + host + ":" + port; }

Result<HttpUrl> parse_http_url(std::string_view text) {
  const UrlHandle handle(curl_url());
  const std::string encoded = encode_forbidden(text);
  const CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, encoded.c_str(),
                                      CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME);
  if (code != CURLUE_OK) return bad_url(text, curl_url_strerror(code));
  return in_parts(handle.get(), text);
}

Result<HttpUrl> resolve_redirect(const HttpUrl& from, std::string_view location) {
  const UrlHandle handle(curl_url());
  const std::string encoded = encode_forbidden(location);
  CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, from.text().c_str(), CURLU_PATH_AS_IS);
  if (code == CURLUE_OK) {
    code = curl_url_set(handle.get(), CURLUPART_URL, encoded.c_str(),
                        CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME);
  }
  if (code != CURLUE_OK) return bad_url(location, curl_url_strerror(code));
  auto url = in_parts(handle.get(), location);
  if (url && from.scheme == "https" && url->scheme == "http") {
    return bad_url(location, "a redirect from https to http is not followed");
  }
  return url;
}

HostReach reach_of_ipv4(const unsigned char* bytes) noexcept {
  if (bytes[0] == 127 || bytes[0] == 0) return HostReach::kMachine;
  return bytes[0] == 169 && bytes[1] == 254 ? HostReach::kLink : HostReach::kAnywhere;
}

HostReach reach_of_ipv6(const unsigned char* bytes) noexcept {
  const bool ten_zeros = std::all_of(bytes, bytes + 10, [](unsigned char b) { return b == 0; });
  if (ten_zeros && bytes[10] == 0xff && bytes[11] == 0xff) return reach_of_ipv4(bytes + 12);
  if (std::all_of(bytes, bytes + 15, [](unsigned char b) { return b == 0; }) && bytes[15] <= 1) {
    return HostReach::kMachine;  // any, loopback
  }
  const bool link = bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  // fd00:ec2::254 is the metadata service's address in IPv6.
  const bool metadata =
      bytes[0] == 0xfd && bytes[1] == 0x00 && bytes[2] == 0x0e && bytes[3] == 0xc2;
  return link || metadata ? HostReach::kLink : HostReach::kAnywhere;
}

HostReach reach_of(std::string_view host) {
  std::string name = lower_case(host);
  while (name.ends_with('.')) name.pop_back();  // the root of all names
  if (name == "localhost" || name.ends_with(".localhost")) return HostReach::kMachine;
  std::array<unsigned char, 16> bytes{};
  if (inet_pton(AF_INET, name.c_str(), bytes.data()) == 1) return reach_of_ipv4(bytes.data());
  if (!name.starts_with('[') || !name.ends_with(']')) return HostReach::kAnywhere;
  const std::string inside = name.substr(1, name.size() - 2);
  const bool number =
      inet_pton(AF_INET6, inside.substr(0, inside.find('%')).c_str(), bytes.data()) == 1;
  return number ? reach_of_ipv6(bytes.data()) : HostReach::kAnywhere;
}

std::string redacted(std::string_view url) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string_view::npos) return std::string(url);
  std::string out(url.substr(0, scheme + 3));
  url.remove_prefix(scheme + 3);
  const std::size_t host_end = std::min(url.find_first_of("/?#"), url.size());
  const std::size_t at = url.substr(0, host_end).rfind('@');
  if (at != std::string_view::npos) {
    out += "***@";
    url.remove_prefix(at + 1);
  }
  // Keys of object stores may hold any character: only http knows queries.
  const bool http = out.starts_with("http://") || out.starts_with("https://");
  const std::size_t query = http ? url.find('?') : std::string_view::npos;
  out += url.substr(0, query);
  if (query != std::string_view::npos) out.append("?").append(hide_values(url.substr(query + 1)));
  return out;
}

std::string percent_encode(std::string_view text, bool keep_slash) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (keep_slash && c == '/');
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace shardreel
