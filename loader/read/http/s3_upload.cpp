#include "loader/read/http/s3_upload.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "loader/base/signal.h"
#include "loader/read/http/credential_store.h"
#include "loader/read/http/http_exchange.h"
#include "loader/read/http/range_answer.h"
#include "loader/read/http/retry_policy.h"
#include "loader/read/http/s3_target.h"
#include "loader/read/wait_bound.h"
#include "shardreel/byte_source.h"
#include "shards/sha256.h"

namespace shardreel {
namespace {

constexpr std::uint64_t kMostParts = 10'000;  // S3's own bound
constexpr std::string_view kShaHeader = "x-amz-meta-sha256";
constexpr std::chrono::seconds kLongestAbort{5};

Error stopped() { return {ErrorCode::kStopped, "stopped while uploading", {}, {}, {}}; }

HttpClientOptions client_options(const InputOptions& options) {
  HttpClientOptions client;
  client.connections = 2;
  client.request_timeout = milliseconds_of(options.request_timeout);
  // While a part goes up nothing comes back: only the whole request has a limit.
  client.stall_timeout = client.request_timeout;
  client.ca_file = options.ca_file;
  return client;
}

std::string between(const std::string& text, const std::string& begin, const std::string& end) {
  const std::size_t from = text.find(begin);
  if (from == std::string::npos) return {};
  const std::size_t to = text.find(end, from);
  if (to == std::string::npos) return {};
  return text.substr(from + begin.size(), to - from - begin.size());
}

bool may_pass(const HttpAnswer& answer) {
  const int status = answer.head.status;
  if (status == 408 || status == 425 || status == 429 || status >= 500) return true;
  // An error can come with status 200 where completing took long.
  return status == 200 && answer.body.find("<Error>") != std::string::npos;
}

/// A file on its way.
struct Passage {
  FileToUpload file;
  HttpUrl url;
  std::shared_ptr<const RandomAccess> content;
  std::string sha256;
  bool there = false;             ///< the object has these bytes already
  std::string upload;             ///< the server's name of what is begun; empty = nothing is
  std::vector<std::string> tags;  ///< of the parts, in order
};

}  // namespace

struct S3Uploader::State {
  explicit State(const InputOptions& options)
      : work(loop.get_executor()),
        client(std::make_shared<HttpClient>(loop, client_options(options))),
        store(client, loop),
        random(std::random_device{}()),
        thread([this] { loop.run(); }) {
    policy.retries = options.retries;
    place.endpoint = options.s3_endpoint.empty() ? store.place().endpoint : options.s3_endpoint;
    place.region = options.s3_region.empty() ? store.place().region : options.s3_region;
  }
  ~State() {
    store.close();
    client.reset();
    loop.stop();
    thread.join();
  }

  Result<AwsCredentials> credentials(const std::stop_token& stop);
  Result<HttpAnswer> ask(const std::string& method, const HttpUrl& url,
                         const std::vector<std::string>& headers, const std::string& body,
                         const std::stop_token& stop);
  Result<HttpAnswer> ask_well(const std::string& what, const Passage& passage,
                              const std::string& method, const std::string& query,
                              const std::vector<std::string>& headers, const std::string& body,
                              const std::stop_token& stop);
  bool wait(std::chrono::milliseconds time, const std::stop_token& stop);
  Result<void> look(Passage& passage, bool overwrite, const std::stop_token& stop);
  Result<void> send_parts(Passage& passage, const std::stop_token& stop);
  Result<void> complete(Passage& passage, const std::stop_token& stop);
  void take_back(const Passage& passage);

  boost::asio::io_context loop;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  std::shared_ptr<HttpClient> client;  // weak in the store
  CredentialStore store;
  S3Place place;
  RetryPolicy policy;
  std::mt19937_64 random;
  std::thread thread;  // last: it runs the loop
};

bool S3Uploader::State::wait(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_for(lock, stop, time, [] { return false; });
  return !stop.stop_requested();
}

Result<AwsCredentials> S3Uploader::State::credentials(const std::stop_token& stop) {
  struct Given {
    Signal news;
    std::mutex mutex;
    std::optional<Result<AwsCredentials>> result;
  };
  const auto given = std::make_shared<Given>();  // the search may end after a stop
  store.get([given](Result<AwsCredentials> result) {
    {
      const std::lock_guard lock(given->mutex);
      given->result.emplace(std::move(result));
    }
    given->news.raise();
  });
  while (true) {
    const std::uint64_t seen = given->news.version();
    {
      const std::lock_guard lock(given->mutex);
      if (given->result) return std::move(*given->result);
    }
    if (!given->news.wait(seen, stop)) return stopped();
  }
}

/// One request until it has an answer that trying again would not better.
Result<HttpAnswer> S3Uploader::State::ask(const std::string& method, const HttpUrl& url,
                                          const std::vector<std::string>& headers,
                                          const std::string& body, const std::stop_token& stop) {
  for (std::uint32_t attempt = 1;; ++attempt) {
    auto keys = credentials(stop);
    if (!keys) return std::move(keys.error());
    HttpRequest request;
    request.url = url.text();
    request.method = method;
    request.headers = headers;
    request.body = body;
    for (std::string& line : sign_v4(*keys, {place.region, "s3"}, method, url, headers, body,
                                     std::chrono::system_clock::now())) {
      request.headers.push_back(std::move(line));
    }
    auto answer = http_exchange(client, std::move(request), stop);
    if (!answer && answer.error().code == ErrorCode::kStopped) return stopped();
    bool again = !answer || may_pass(*answer);
    if (answer && answer->body.find("ExpiredToken") != std::string::npos) {
      again = store.forget(*keys);
    }
    if (!again || attempt > policy.retries) return answer;
    std::optional<std::chrono::milliseconds> asked;
    const auto text = answer ? answer->head.find("retry-after") : std::nullopt;
    if (text) asked = parse_retry_after(*text, std::chrono::system_clock::now());
    if (!wait(policy.wait_after(attempt, random(), asked), stop)) return stopped();
  }
}

/// The same; every answer but 200 and 204 is an error.
Result<HttpAnswer> S3Uploader::State::ask_well(const std::string& what, const Passage& passage,
                                               const std::string& method, const std::string& query,
                                               const std::vector<std::string>& headers,
                                               const std::string& body,
                                               const std::stop_token& stop) {
  HttpUrl url = passage.url;
  url.query = query;
  auto answer = ask(method, url, headers, body, stop);
  const auto error = [&](ErrorCode code, const std::string& reason) {
    return Error{code, fmt::format("{} {}: {}", what, passage.file.url, reason), {}, {}, {}};
  };
  if (!answer) return error(answer.error().code, answer.error().message);
  const int status = answer->head.status;
  if ((status == 200 || status == 204) && !may_pass(*answer)) return answer;
  const std::string words = server_reason(answer->body);
  const bool refused = status == 401 || status == 403;
  return error(refused         ? ErrorCode::kNotPermitted
               : status == 404 ? ErrorCode::kNotFound
                               : ErrorCode::kIo,
               fmt::format("status {}{}{}", status, words.empty() ? "" : ": ", words));
}

Result<void> S3Uploader::State::look(Passage& passage, bool overwrite,
                                     const std::stop_token& stop) {
  auto answer = ask("HEAD", passage.url, {}, {}, stop);
  if (!answer) {
    return Error{answer.error().code,
                 fmt::format("looking for {}: {}", passage.file.url, answer.error().message),
                 {},
                 {},
                 {}};
  }
  const int status = answer->head.status;
  if (status == 200 && answer->head.find(kShaHeader) == std::string_view(passage.sha256)) {
    passage.there = true;
    return {};
  }
  if (status == 404 || overwrite) return {};
  return Error{ErrorCode::kInvalidOption,
               status == 200
                   ? fmt::format("{} is there already; --overwrite replaces it", passage.file.url)
                   : fmt::format("whether {} is there already cannot be told (status {}); "
                                 "--overwrite does not ask",
                                 passage.file.url, status),
               {},
               {},
               {}};
}

Result<void> S3Uploader::State::send_parts(Passage& passage, const std::stop_token& stop) {
  const std::vector<std::string> type{"Content-Type: application/octet-stream"};
  std::vector<std::string> headers = type;
  headers.push_back(fmt::format("{}: {}", kShaHeader, passage.sha256));
  auto begun = ask_well("beginning", passage, "POST", "uploads", headers, {}, stop);
  if (!begun) return std::move(begun.error());
  passage.upload = between(begun->body, "<UploadId>", "</UploadId>");
  if (passage.upload.empty()) {
    return Error{ErrorCode::kIo,
                 fmt::format("beginning {}: the answer names no upload", passage.file.url),
                 {},
                 {},
                 {}};
  }
  const std::uint64_t size = passage.content->size();
  const std::uint64_t even = (size + kMostParts - 1) / kMostParts;
  const std::uint64_t part_bytes = std::max<std::uint64_t>(kPartBytes, even);
  std::string body;
  for (std::uint64_t at = 0; at < size || passage.tags.empty(); at += part_bytes) {
    body.resize(static_cast<std::size_t>(std::min(part_bytes, size - at)));
    const ReadPiece piece{at, std::as_writable_bytes(std::span(body))};
    if (auto read = passage.content->read_pieces(std::span(&piece, 1)); !read) {
      return std::move(read.error().at(passage.file.path));
    }
    const std::string query = fmt::format("partNumber={}&uploadId={}", passage.tags.size() + 1,
                                          percent_encode(passage.upload, false));
    auto sent = ask_well("uploading", passage, "PUT", query, type, body, stop);
    if (!sent) return std::move(sent.error());
    passage.tags.emplace_back(sent->head.find("etag").value_or(std::string_view()));
  }
  return {};
}

Result<void> S3Uploader::State::complete(Passage& passage, const std::stop_token& stop) {
  std::string list = "<CompleteMultipartUpload>";
  for (std::size_t i = 0; i < passage.tags.size(); ++i) {
    list += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", i + 1,
                        passage.tags[i]);
  }
  list += "</CompleteMultipartUpload>";
  auto done =
      ask_well("completing", passage, "POST", "uploadId=" + percent_encode(passage.upload, false),
               {"Content-Type: application/xml"}, list, stop);
  if (!done && done.error().code == ErrorCode::kNotFound) {
    // The answer to an attempt before may have been lost: then the object is there.
    if (auto looked = look(passage, true, stop); looked && passage.there) done = HttpAnswer();
  }
  if (!done) return std::move(done.error());
  passage.upload.clear();
  return {};
}

void S3Uploader::State::take_back(const Passage& passage) {
  if (passage.upload.empty()) return;
  // Whatever stopped the upload, this is still sent, and given up soon.
  std::stop_source late;
  std::mutex mutex;
  std::condition_variable_any over;
  std::jthread watch([&](const std::stop_token& ended) {
    std::unique_lock lock(mutex);
    over.wait_for(lock, ended, kLongestAbort, [] { return false; });
    late.request_stop();
  });
  (void)ask_well("taking back", passage, "DELETE",
                 "uploadId=" + percent_encode(passage.upload, false), {}, {}, late.get_token());
}

S3Uploader::S3Uploader(const InputOptions& options) : state_(std::make_unique<State>(options)) {}
S3Uploader::~S3Uploader() = default;

Result<void> S3Uploader::put_all(std::span<const FileToUpload> files, bool overwrite,
                                 const std::stop_token& stop) {
  std::vector<Passage> passages;
  const auto run = [&]() -> Result<void> {
    for (const FileToUpload& file : files) {
      Passage passage;
      passage.file = file;
      auto url = s3_url(file.url, state_->place);
      if (!url) return std::move(url.error());
      passage.url = std::move(*url);
      auto stream = open_file(file.path);
      if (!stream) return std::move(stream.error());
      passage.content = (*stream)->random_access();
      auto sum = sha256_of(*passage.content);
      if (!sum) return std::move(sum.error());
      passage.sha256 = std::move(*sum);
      passages.push_back(std::move(passage));
    }
    for (Passage& passage : passages) {
      if (auto good = state_->look(passage, overwrite, stop); !good) return good;
    }
    for (Passage& passage : passages) {
      if (passage.there) continue;
      if (auto good = state_->send_parts(passage, stop); !good) return good;
    }
    for (Passage& passage : passages) {
      if (passage.there) continue;
      if (auto good = state_->complete(passage, stop); !good) return good;
    }
    return {};
  };
  auto done = run();
  if (!done) {
    for (const Passage& passage : passages) state_->take_back(passage);
  }
  return done;
}

}  // namespace shardreel
