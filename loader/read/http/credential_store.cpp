#include "loader/read/http/credential_store.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <stop_token>
#include <thread>
#include <utility>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/read/http/aws_credentials.h"
#include "loader/read/pipe_stream.h"

namespace shardreel {
namespace {

using std::chrono::system_clock;

constexpr std::chrono::minutes kMargin{5};
constexpr std::chrono::seconds kLongestCommand{60};

/// All a command writes, within a minute; `stop` kills it.
Result<std::string> output_of(boost::asio::io_context& loop, const std::string& command,
                              const std::stop_token& stop) {
  auto pipe =
      open_pipe(loop, command, true, {.stall = kLongestCommand, .shard = kLongestCommand}, stop);
  if (!pipe) return std::move(pipe.error());
  std::string text;
  std::string block(4096, '\0');
  while (true) {
    auto got = (*pipe)->read(std::as_writable_bytes(std::span(block)));
    if (!got) {
      // The command line may hold secrets.
      return Error{got.error().code, "credential_process failed", {}, {}, {}};
    }
    if (*got == 0) return text;
    text.append(block, 0, *got);
  }
}

}  // namespace

struct CredentialStore::State : std::enable_shared_from_this<State> {
  State(std::weak_ptr<HttpClient> http_client, boost::asio::io_context& event_loop)
      : client(std::move(http_client)),
        loop(event_loop),
        environment(process_aws_environment()),
        files(environment),
        place(find_aws_place(environment, files)) {}

  const std::weak_ptr<HttpClient> client;
  boost::asio::io_context& loop;
  const AwsEnvironment environment;
  const AwsFiles files;
  const AwsPlace place;
  std::stop_source stop;

  Mutex mutex;
  std::optional<AwsCredentials> found SHARDREEL_GUARDED_BY(mutex);
  std::vector<Ready> waiting SHARDREEL_GUARDED_BY(mutex);
  bool searching SHARDREEL_GUARDED_BY(mutex) = false;
  std::thread searcher SHARDREEL_GUARDED_BY(mutex);

  [[nodiscard]] bool has_good() const SHARDREEL_REQUIRES(mutex) {
    return found && (!found->expires || *found->expires - system_clock::now() > kMargin);
  }

  void search() {
    const AwsReach reach{.http =
                             [this](HttpRequest request) {
                               return http_exchange(client, std::move(request), stop.get_token());
                             },
                         .command =
                             [this](const std::string& command) {
                               return output_of(loop, command, stop.get_token());
                             }};
    auto result = find_aws_credentials(environment, files, place, reach);
    if (stop.stop_requested()) return;
    boost::asio::post(
        loop, [self = shared_from_this(), result = std::move(result)] { self->tell(result); });
  }

  void tell(const Result<AwsCredentials>& result) {
    std::vector<Ready> told;
    {
      const MutexLock lock(mutex);
      searching = false;
      if (result) found = *result;
      told.swap(waiting);
    }
    for (const Ready& ready : told) ready(result);
  }
};

CredentialStore::CredentialStore(std::weak_ptr<HttpClient> client, boost::asio::io_context& loop,
                                 std::optional<AwsCredentials> fixed)
    : state_(std::make_shared<State>(std::move(client), loop)) {
  const MutexLock lock(state_->mutex);
  state_->found = std::move(fixed);
}

CredentialStore::~CredentialStore() { close(); }

const AwsPlace& CredentialStore::place() const noexcept { return state_->place; }

void CredentialStore::close() noexcept {
  state_->stop.request_stop();
  std::thread searcher;
  {
    const MutexLock lock(state_->mutex);
    state_->waiting.clear();
    searcher.swap(state_->searcher);
  }
  if (searcher.joinable()) searcher.join();
}

void CredentialStore::get(Ready ready) {
  std::optional<AwsCredentials> good;
  {
    const MutexLock lock(state_->mutex);
    if (state_->has_good()) {
      good = state_->found;
    } else if (!state_->stop.stop_requested()) {
      state_->waiting.push_back(std::move(ready));
      if (!std::exchange(state_->searching, true)) {
        if (state_->searcher.joinable()) state_->searcher.join();  // the last one: it has ended
        state_->searcher = std::thread([state = state_] { state->search(); });
      }
    }
  }
  if (good) ready(std::move(*good));
}

bool CredentialStore::forget(const AwsCredentials& refused) {
  const MutexLock lock(state_->mutex);
  // Another request may have brought new ones since.
  if (state_->found && state_->found->access_key != refused.access_key) return true;
  if (!refused.expires) return false;
  state_->found.reset();
  return true;
}

}  // namespace shardreel
