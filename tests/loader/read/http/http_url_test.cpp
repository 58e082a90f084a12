// URLs: parts, redirects, what is shown of them.

#include "loader/read/http/http_url.h"

#include <gtest/gtest.h>

#include "loader/read/http/remote_shape.h"

namespace shardreel {
namespace {

TEST(HttpUrl, PartsAreThoseOfTheText) {
  const auto url = parse_http_url("HTTPS://us%65r:p%40ss@Example.COM:8443/a/./b c%20/ü?q=1#frag");
  ASSERT_TRUE(url) << url.error().describe();
  EXPECT_EQ(url->scheme, "https");
  EXPECT_EQ(url->host, "example.com");
  EXPECT_EQ(url->port, "8443");
  EXPECT_EQ(url->path, "/a/./b%20c%20/%C3%BC");
  EXPECT_EQ(url->query, "q=1");
  EXPECT_EQ(url->user, "user");
  EXPECT_EQ(url->password, "p@ss");
  EXPECT_EQ(url->text(), "https://example.com:8443/a/./b%20c%20/%C3%BC?q=1");
  EXPECT_EQ(url->origin(), "https://example.com:8443");
  EXPECT_EQ(parse_http_url("http://h")->text(), "http://h/");
  EXPECT_EQ(parse_http_url("http://h:80/x")->authority(), "h");
}

TEST(HttpUrl, OnlyHttpAndHttpsAreUrlsOfIt) {
  for (const char* text : {"file:///etc/passwd", "ftp://h/x", "gopher://h/x", "http://", "h/x", ""})
    EXPECT_FALSE(parse_http_url(text)) << text;
}

TEST(HttpUrl, RedirectsResolveAndNeverLeaveHttp) {
  const HttpUrl from = parse_http_url("https://h:1/a/b?x=1").value();
  EXPECT_EQ(resolve_redirect(from, "/c?y=2")->text(), "https://h:1/c?y=2");
  EXPECT_EQ(resolve_redirect(from, "c")->text(), "https://h:1/a/c");
  EXPECT_EQ(resolve_redirect(from, "//o/c")->text(), "https://o/c");
  EXPECT_EQ(resolve_redirect(from, "https://o/c")->origin(), "https://o:443");
  for (const char* bad : {"http://h:1/a", "file:///etc/passwd", "ftp://h/", "scp://h/x"})
    EXPECT_FALSE(resolve_redirect(from, bad)) << bad;
}

TEST(HttpUrl, LocalHostsAreKnownHoweverTheyAreWritten) {
  for (const char* host :
       {"localhost", "LOCALHOST", "a.localhost", "127.0.0.1", "127.9.9.9", "0.0.0.0",
        "169.254.169.254", "[::1]", "[::]", "[fe80::1]", "[fe80::1%25eth0]",
        "[::ffff:169.254.169.254]", "[::ffff:127.0.0.1]", "[fd00:ec2::254]", "localhost."})
    EXPECT_NE(reach_of(host), HostReach::kAnywhere) << host;
  for (const char* host : {"example.com", "8.8.8.8", "10.0.0.1", "192.168.1.1", "[2001:db8::1]",
                           "[fd12::1]", "[::ffff:8.8.8.8]", "127.example.com"})
    EXPECT_EQ(reach_of(host), HostReach::kAnywhere) << host;
  // Other ways to write an IPv4 address become the usual one when the URL is taken apart.
  for (const char* text : {"http://2130706433/", "http://0x7f.1/", "http://0251.0376.0251.0376/"})
    EXPECT_NE(reach_of(parse_http_url(text)->host), HostReach::kAnywhere) << text;
}

TEST(HttpUrl, SecretsAreNotShown) {
  EXPECT_EQ(redacted("http://user:pass@h/a@b?X-Amz-Signature=abc&versionId=7&x"),
            "http://***@h/a@b?X-Amz-Signature=***&versionId=7&***");
  EXPECT_EQ(redacted("s3://bucket/a?b=c"), "s3://bucket/a?b=c");  // a key, no query
  EXPECT_EQ(redacted("/a/b?c"), "/a/b?c");
  EXPECT_EQ(redacted("https://u@h"), "https://***@h");
}

TEST(HttpUrl, RemoteSpecsAreRecognised) {
  EXPECT_TRUE(is_remote("http://h/a"));
  EXPECT_TRUE(is_remote("HTTPS://h/a"));
  EXPECT_FALSE(is_remote("file:///a"));
  EXPECT_FALSE(is_remote("pipe:curl http://h/a"));
  EXPECT_FALSE(is_remote("/a/http"));
  for (const char* spec : {"http://h/{0..9}.tar", "{http,https}://h/a", "@list", "${ROOT}/a"})
    EXPECT_TRUE(may_be_remote(spec)) << spec;
  for (const char* spec : {"/a/b.tar", "file:///a", "pipe:curl http://h/a", "-"})
    EXPECT_FALSE(may_be_remote(spec)) << spec;
}

TEST(PercentEncode, KeepsWhatIsUnreserved) {
  EXPECT_EQ(percent_encode("aZ09-._~ /+=%ü", true), "aZ09-._~%20/%2B%3D%25%C3%BC");
  EXPECT_EQ(percent_encode("a/b", false), "a%2Fb");
}

}  // namespace
}  // namespace shardreel
