#pragma once
// URLs of http and https: their parts, where a redirect leads, and what of them may be shown.

#include <string>
#include <string_view>

#include "shardreel/error.h"

namespace shardreel {

/// An absolute http or https URL in parts, percent-encoded as it is sent.
struct HttpUrl {
  std::string scheme;          ///< "http" or "https"
  std::string host;            ///< IPv6 in brackets
  std::string port;            ///< always set
  std::string path;            ///< begins with '/'; "." and ".." are kept
  std::string query;           ///< without '?'
  std::string user, password;  ///< decoded; never part of `text`

  [[nodiscard]] std::string text() const;       ///< without user and password
  [[nodiscard]] std::string origin() const;     ///< scheme, host, port: what credentials belong to
  [[nodiscard]] std::string authority() const;  ///< host, and the port where it is not the default
};

/// Take a URL apart. Bytes that no URL may hold (spaces, not ASCII) are percent-encoded; '%' stays.
Result<HttpUrl> parse_http_url(std::string_view text);

/// Where `location` leads from `from`; only http and https are allowed, and never from https to
/// http.
Result<HttpUrl> resolve_redirect(const HttpUrl& from, std::string_view location);

/// What a host that is written as a number (or localhost) is: addresses that only the user's own
/// list may name.
enum class HostReach { kAnywhere, kMachine, kLink };  ///< kLink: 169.254…, fe80…, metadata services
[[nodiscard]] HostReach reach_of(std::string_view host);
[[nodiscard]] HostReach reach_of_ipv4(const unsigned char* bytes) noexcept;
[[nodiscard]] HostReach reach_of_ipv6(const unsigned char* bytes) noexcept;

/// A URL for messages and records: without password and without the values of query parameters that
/// may be secrets (all but a few known ones).
[[nodiscard]] std::string redacted(std::string_view url);

/// Percent-encode all bytes but letters, digits and "-._~"; '/' too unless it is kept.
[[nodiscard]] std::string percent_encode(std::string_view text, bool keep_slash);

/// Lower-case ASCII.
[[nodiscard]] std::string lower_case(std::string_view text);

}  // namespace shardreel
