// Signatures, places and credentials of S3, without a server and against a checking one.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "loader/read/http/aws_credentials.h"
#include "loader/read/http/aws_profile.h"
#include "loader/read/http/hf_target.h"
#include "loader/read/http/s3_target.h"
#include "loader/read/http/sigv4.h"
#include "tests/loader/read/http/remote_fixture.h"
#include "tests/support/fault_server.h"
#include "tests/support/scratch.h"

namespace shardreel {
namespace {

using testing::FaultReply;
using testing::FaultServer;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::SeenRequest;

/// The example of Amazon's documentation ("Signature Calculations for the Authorization Header:
/// GET Object").
TEST(SigV4, TheDocumentedExample) {
  AwsCredentials credentials;
  credentials.access_key = "AKIAIOSFODNN7EXAMPLE";
  credentials.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  const auto lines =
      sign_v4(credentials, {"us-east-1", "s3"}, "GET",
              parse_http_url("https://examplebucket.s3.amazonaws.com/test.txt").value(),
              {"Range: bytes=0-9"}, {}, std::chrono::system_clock::from_time_t(1369353600));
  EXPECT_THAT(lines,
              ::testing::Contains(
                  "Authorization: AWS4-HMAC-SHA256 "
                  "Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
                  "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
                  "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"));
  EXPECT_THAT(lines, ::testing::Contains("x-amz-date: 20130524T000000Z"));
}

/// And its listing with a query ("GET Bucket (List Objects)"), given here in the wrong order.
TEST(SigV4, QueriesAreSorted) {
  AwsCredentials credentials;
  credentials.access_key = "AKIAIOSFODNN7EXAMPLE";
  credentials.secret_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
  const auto lines =
      sign_v4(credentials, {"us-east-1", "s3"}, "GET",
              parse_http_url("https://examplebucket.s3.amazonaws.com/?prefix=J&max-keys=2").value(),
              {}, {}, std::chrono::system_clock::from_time_t(1369353600));
  EXPECT_THAT(lines,
              ::testing::Contains(HasSubstr(
                  "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")));
}

TEST(S3Url, BucketsGoToTheHostOrThePath) {
  const auto text = [](const char* url, const S3Place& place) {
    const auto made = s3_url(url, place);
    return made ? made->text() : made.error().message;
  };
  EXPECT_EQ(text("s3://bucket/a b+c=%.tar", {.region = "eu-west-1"}),
            "https://bucket.s3.eu-west-1.amazonaws.com/a%20b%2Bc%3D%25.tar");
  EXPECT_EQ(text("s3://dotted.bucket/x//./y", {.region = "r"}),
            "https://s3.r.amazonaws.com/dotted.bucket/x//./y");
  EXPECT_EQ(text("s3://b/ü#?", {.endpoint = "http://h:9000", .region = "r"}),
            "http://h:9000/b/%C3%BC%23%3F");
  EXPECT_EQ(text("s3://b/k", {.endpoint = "http://h:9000/store/", .region = "r"}),
            "http://h:9000/store//b/k");
  for (const char* bad : {"s3://", "s3://b", "s3://b/", "s3:///k", "s3://u:p@b/k"})
    EXPECT_FALSE(s3_url(bad, {.region = "r"})) << bad;
}

TEST(HfUrl, NamesFilesOfTheHub) {
  EXPECT_EQ(hf_url("hf://datasets/o/n/a/b c.tar", "https://hub").value(),
            "https://hub/datasets/o/n/resolve/main/a/b%20c.tar");
  EXPECT_EQ(hf_url("hf://datasets/o/n@v/1/a.tar", "https://hub").value(),
            "https://hub/datasets/o/n/resolve/v/1/a.tar");
  EXPECT_EQ(hf_url("hf://o/n@refs%2Fpr/a.tar", "https://hub").value(),
            "https://hub/o/n/resolve/refs%252Fpr/a.tar");
  for (const char* bad : {"hf://", "hf://datasets/o", "hf://datasets/o/n", "hf://datasets/o/n/"})
    EXPECT_FALSE(hf_url(bad, "https://hub")) << bad;
}

/// An environment, files and a network of a test's own.
struct World {
  std::map<std::string, std::string> variables;
  std::string config, credentials;
  std::function<HttpAnswer(const HttpRequest&)> http = [](const HttpRequest&) {
    return HttpAnswer{{404, {}}, ""};
  };
  std::function<std::string(const std::string&)> command;
  std::vector<HttpRequest> asked;

  AwsEnvironment environment() {
    return [this](const std::string& name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      if (found == variables.end()) return {};
      return found->second;
    };
  }
  AwsPlace place() { return find_aws_place(environment(), AwsFiles(config, credentials)); }
  Result<AwsCredentials> find() {
    const AwsReach reach{.http = [this](HttpRequest request) -> Result<HttpAnswer> {
                           asked.push_back(request);
                           return http(request);
                         },
                         .command = [this](const std::string& line) -> Result<std::string> {
                           return command(line);
                         }};
    return find_aws_credentials(environment(), AwsFiles(config, credentials), place(), reach);
  }
};

const std::string kSts =
    "<R><Credentials><AccessKeyId>TEMP</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
    "<SessionToken>t</SessionToken><Expiration>2030-01-02T03:04:05Z</Expiration></Credentials></R>";

TEST(AwsPlace, TheNearestWordWins) {
  World world;
  world.config =
      "[default]\nregion = from-file\nendpoint_url = http://file\n"
      "[profile p]\nservices = mine\nregion=p-region\n"
      "[services mine]\ns3 =\n  endpoint_url = http://s3-of-services\n";
  EXPECT_EQ(world.place().region, "from-file");
  EXPECT_EQ(world.place().endpoint, "http://file");
  world.variables["AWS_PROFILE"] = "p";
  EXPECT_EQ(world.place().region, "p-region");
  EXPECT_EQ(world.place().endpoint, "http://s3-of-services");
  world.variables["AWS_DEFAULT_REGION"] = "d";
  world.variables["AWS_ENDPOINT_URL"] = "http://all";
  EXPECT_EQ(world.place().region, "d");
  EXPECT_EQ(world.place().endpoint, "http://all");
  world.variables["AWS_REGION"] = "r";
  world.variables["AWS_ENDPOINT_URL_S3"] = "http://s3";
  EXPECT_EQ(world.place().region, "r");
  EXPECT_EQ(world.place().endpoint, "http://s3");
  EXPECT_EQ(world.place().sts_endpoint, "http://all");
  EXPECT_EQ(World().place().region, "us-east-1");
  EXPECT_EQ(World().place().endpoint, "");
}

TEST(AwsCredentials, TheEnvironmentGoesFirst) {
  World world;
  world.credentials = "[default]\naws_access_key_id=F\naws_secret_access_key=f\n";
  world.variables = {
      {"AWS_ACCESS_KEY_ID", "A"}, {"AWS_SECRET_ACCESS_KEY", "s"}, {"AWS_SESSION_TOKEN", "t"}};
  const auto found = world.find().value();
  EXPECT_EQ(found.access_key + found.secret_key + found.session_token, "Ast");
  world.variables.erase("AWS_SECRET_ACCESS_KEY");
  EXPECT_FALSE(world.find());  // half set up is a mistake, not a reason to look on
  world.variables.clear();
  EXPECT_EQ(world.find()->access_key, "F");
}

TEST(AwsCredentials, AWebIdentityIsExchanged) {
  const testing::ScratchDir dir;
  std::ofstream(dir / "token") << "web+token\n";
  World world;
  world.variables = {{"AWS_WEB_IDENTITY_TOKEN_FILE", dir / "token"},
                     {"AWS_ROLE_ARN", "arn:aws:iam::1:role/r"},
                     {"AWS_ENDPOINT_URL_STS", "http://sts"}};
  world.http = [](const HttpRequest&) { return HttpAnswer{{200, {}}, kSts}; };
  const auto found = world.find();
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->access_key, "TEMP");
  EXPECT_EQ(found->session_token, "t");
  EXPECT_EQ(std::chrono::system_clock::to_time_t(*found->expires), 1893553445);
  ASSERT_EQ(world.asked.size(), 1U);
  EXPECT_THAT(world.asked[0].body, HasSubstr("AssumeRoleWithWebIdentity"));
  EXPECT_THAT(world.asked[0].body, HasSubstr("WebIdentityToken=web%2Btoken"));
  for (const std::string& line : world.asked[0].headers)
    EXPECT_THAT(line, Not(HasSubstr("Signature")));
}

TEST(AwsCredentials, RolesStandOnProfiles) {
  World world;
  world.variables["AWS_PROFILE"] = "p";
  world.config =
      "[profile p]\nrole_arn = arn:r\nsource_profile = q\nexternal_id = e\n"
      "[profile q]\naws_access_key_id = Q\naws_secret_access_key = q\n";
  world.http = [](const HttpRequest&) { return HttpAnswer{{200, {}}, kSts}; };
  EXPECT_EQ(world.find()->access_key, "TEMP");
  EXPECT_THAT(world.asked[0].body, HasSubstr("Action=AssumeRole&"));
  EXPECT_THAT(world.asked[0].body, HasSubstr("ExternalId=e"));
  EXPECT_THAT(world.asked[0].headers, ::testing::Contains(HasSubstr("Credential=Q/")));
  world.http = [](const HttpRequest&) {
    return HttpAnswer{{403, {}}, "<Code>AccessDenied</Code><Message>no</Message>"};
  };
  EXPECT_THAT(world.find().error().message, HasSubstr("AccessDenied: no"));
  world.config =
      "[profile p]\nrole_arn=a\nsource_profile=q\n[profile q]\nrole_arn=b\nsource_profile=p\n";
  EXPECT_THAT(world.find().error().message, HasSubstr("each other"));
}

TEST(AwsCredentials, CommandsContainersAndTheMetadataService) {
  const std::string json =
      R"({"Version":1,"AccessKeyId":"J","SecretAccessKey":"j","Token":"c","SessionToken":"p",)"
      R"("Expiration":"2030-01-02T03:04:05Z"})";
  World world;
  world.config = "[default]\ncredential_process = give keys\n";
  world.command = [&](const std::string& line) { return line == "give keys" ? json : ""; };
  EXPECT_EQ(world.find()->session_token, "p");
  EXPECT_TRUE(world.find()->expires);

  world.config.clear();
  world.variables = {{"AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://c/keys"},
                     {"AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer eks"}};
  world.http = [&](const HttpRequest& request) {
    const bool good = request.url == "http://c/keys" && !request.use_proxy &&
                      request.headers == std::vector<std::string>{"Authorization: Bearer eks"};
    return HttpAnswer{{good ? 200 : 403, {}}, json};
  };
  EXPECT_EQ(world.find()->session_token, "c");

  world.variables = {{"AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://imds"}};
  world.http = [&](const HttpRequest& request) {
    if (request.method == "PUT") return HttpAnswer{{200, {}}, "TOKEN"};
    if (request.headers != std::vector<std::string>{"X-aws-ec2-metadata-token: TOKEN"}) {
      return HttpAnswer{{401, {}}, ""};
    }
    const bool list = request.url.ends_with("security-credentials/");
    return HttpAnswer{{200, {}}, list ? "role\n" : json};
  };
  EXPECT_EQ(world.find()->access_key, "J");
  EXPECT_TRUE(world.asked.back().url.ends_with("/role"));
  world.variables["AWS_EC2_METADATA_DISABLED"] = "true";
  EXPECT_THAT(world.find().error().message, HasSubstr("no AWS credentials"));
}

/// Variables of this process for a test.
class Variables {
 public:
  explicit Variables(const std::map<std::string, std::string>& values) : values_(values) {
    for (const auto& [name, value] : values_) setenv(name.c_str(), value.c_str(), 1);
  }
  ~Variables() {
    for (const auto& [name, value] : values_) unsetenv(name.c_str());
  }

 private:
  std::map<std::string, std::string> values_;
};

TEST(S3Source, RequestsAreSignedAndExpiredCredentialsAreReplaced) {
  const std::string content = testing::pattern(500'000);
  const testing::ScratchDir dir;
  // Each call of the command gives the next key; the first is expired for the server.
  std::ofstream(dir / "keys.sh")
      << "n=$(cat " << dir / "n"
      << " 2>/dev/null || echo 0); echo $((n+1)) > " << dir / "n"
      << "; echo '{\"AccessKeyId\":\"K'$n'\",\"SecretAccessKey\":\"hidden\",\"SessionToken\":\"T\","
      << "\"Expiration\":\"2099-01-01T00:00:00Z\"}'\n";
  std::ofstream(dir / "config") << "[default]\ncredential_process = sh " << dir / "keys.sh"
                                << "\n";
  FaultServer server([&](const SeenRequest& request) {
    if (request.header("authorization").find("Credential=K0/") != std::string::npos) {
      return FaultReply{.status = 400,
                        .body = "<Error><Code>ExpiredToken</Code><Message>old</Message></Error>"};
    }
    return testing::range_reply(request, content, "\"e\"");
  });
  const Variables variables({{"AWS_CONFIG_FILE", dir / "config"},
                             {"AWS_SHARED_CREDENTIALS_FILE", dir / "none"},
                             {"AWS_ENDPOINT_URL_S3", server.url("")}});
  testing::Remote remote;
  const auto read = remote.read_all("s3://bucket/dt=1/a b.tar");
  ASSERT_TRUE(read) << read.error().describe();
  EXPECT_TRUE(*read == content);
  for (const SeenRequest& request : server.requests()) {
    EXPECT_EQ(request.target, "/bucket/dt%3D1/a%20b.tar");
    EXPECT_EQ(request.header("x-amz-security-token"), "T");
    EXPECT_THAT(request.header("authorization"), HasSubstr("/us-east-1/s3/aws4_request"));
  }
}

TEST(S3Source, TheServersReasonIsOneLineWithoutSecrets) {
  FaultServer server([](const SeenRequest&) {
    return FaultReply{.status = 403,
                      .body =
                          "<Error><Code>SignatureDoesNotMatch</Code><Message>It does not\n"
                          "match.</Message><StringToSign>hidden</StringToSign></Error>"};
  });
  const Variables variables({{"AWS_ACCESS_KEY_ID", "key"},
                             {"AWS_SECRET_ACCESS_KEY", "hidden"},
                             {"AWS_ENDPOINT_URL_S3", server.url("")}});
  testing::Remote remote;
  const auto read = remote.read_all("s3://b/k.tar");
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kNotPermitted);
  EXPECT_THAT(read.error().describe(), HasSubstr("SignatureDoesNotMatch: It does not match."));
  EXPECT_THAT(read.error().describe(), Not(HasSubstr("hidden")));
  EXPECT_EQ(server.requests().size(), 1U);
}

TEST(S3Source, AnonymousRequestsAreNotSigned) {
  FaultServer server(
      [](const SeenRequest& request) { return testing::range_reply(request, "content", "\"e\""); });
  InputOptions options = testing::quick_options();
  options.anonymous = true;
  options.s3_endpoint = server.url("");
  testing::Remote remote(options);
  EXPECT_EQ(remote.read_all("s3://b/k.tar").value(), "content");
  EXPECT_EQ(server.requests()[0].headers.count("authorization"), 0U);
}

TEST(GsAndHf, TheirTokensStayWithThem) {
  FaultServer cdn([](const SeenRequest& request) {
    return testing::range_reply(request, testing::pattern(300'000), "\"e\"");
  });
  FaultServer hub([&](const SeenRequest& request) {
    if (request.target.starts_with("/b/")) {
      return testing::range_reply(request, "from gs", "\"e\"");
    }
    return FaultReply{.status = 302, .headers = {{"Location", cdn.url("/blob?Signature=x")}}};
  });
  const Variables variables({{"HF_ENDPOINT", hub.url("")},
                             {"HF_TOKEN", "hf_secret"},
                             {"STORAGE_EMULATOR_HOST", hub.url("")},
                             {"GOOGLE_OAUTH_ACCESS_TOKEN", "gs_secret"}});
  testing::Remote remote;
  EXPECT_EQ(remote.read_all("gs://b/k.tar").value(), "from gs");
  EXPECT_EQ(hub.requests()[0].header("authorization"), "Bearer gs_secret");
  const auto read = remote.read_all("hf://datasets/o/n/a.tar");
  ASSERT_TRUE(read) << read.error().describe();
  EXPECT_TRUE(*read == testing::pattern(300'000));
  EXPECT_EQ(hub.requests()[1].header("authorization"), "Bearer hf_secret");
  EXPECT_EQ(hub.requests().size(), 2U);  // the way is asked for once
  for (const SeenRequest& request : cdn.requests()) {
    EXPECT_EQ(request.headers.count("authorization"), 0U);
  }
}

}  // namespace
}  // namespace shardreel
