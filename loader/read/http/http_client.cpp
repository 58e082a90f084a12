#include "loader/read/http/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>

#include "loader/read/http/http_transfer.h"

namespace shardreel {
namespace {

using boost::asio::steady_timer;
using Clock = std::chrono::steady_clock;

/// libcurl's global state is made once a process and never taken down: other users of the library
/// may share it.
void init_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::string ca_file_of(const std::string& given) {
  if (!given.empty()) return given;
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return {};
}

}  // namespace

std::optional<std::string_view> HttpHead::find(std::string_view lower_name) const {
  for (auto header = headers.rbegin(); header != headers.rend(); ++header) {
    if (header->first == lower_name) return header->second;
  }
  return std::nullopt;
}

/// Lives on the loop's thread, except for the constructor, `next_id` and destruction after the loop
/// has ended.
class HttpClient::State : public std::enable_shared_from_this<State> {
 public:
  State(boost::asio::io_context& event_loop, HttpClientOptions client_options)
      : loop(event_loop), options(std::move(client_options)), timer_(loop), ticker_(loop) {
    init_curl();
    options.ca_file = ca_file_of(options.ca_file);
    multi_ = curl_multi_init();
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &State::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &State::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options.connections));
    curl_multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { close(); }

  /// Drop everything; no handler is called any more.
  void close() {
    if (multi_ == nullptr) return;
    waiting_.clear();
    for (auto& [id, transfer] : running_) curl_multi_remove_handle(multi_, transfer->easy.get());
    running_.clear();
    idle_.clear();
    curl_multi_cleanup(multi_);
    multi_ = nullptr;
    watches_.clear();
    timer_.cancel();
    ticker_.cancel();
  }

  void add(std::unique_ptr<Transfer> transfer) {
    if (multi_ == nullptr) return;
    const bool urgent = transfer->request.urgent;
    waiting_.insert(urgent ? waiting_.begin() : waiting_.end(), std::move(transfer));
    begin_waiting();
  }

  void remove(Id id) {
    if (multi_ == nullptr) return;
    std::erase_if(waiting_, [id](const auto& transfer) { return transfer->id == id; });
    const auto found = running_.find(id);
    if (found == running_.end()) return;
    curl_multi_remove_handle(multi_, found->second->easy.get());
    running_.erase(found);
    begin_waiting();
  }

  boost::asio::io_context& loop;
  HttpClientOptions options;
  std::atomic<Id> next_id{1};

 private:
  /// A socket that libcurl wants to hear of. The descriptor is libcurl's: never closed here.
  struct Watch {
    explicit Watch(boost::asio::io_context& loop, int fd) : descriptor(loop, fd) {}
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { forget(); }
    /// A handler that runs now may hold the watch: the descriptor must be free for the next one
    /// before, or the reactor refuses it, and libcurl with a failed callback ends every transfer.
    void forget() {
      if (descriptor.is_open()) descriptor.release();
    }
    boost::asio::posix::stream_descriptor descriptor;
    bool wants_read = false, wants_write = false;
    bool reading = false, writing = false;  // a wait is in flight
  };

  static int on_socket(CURL*, curl_socket_t fd, int what, void* self, void*) noexcept {
    auto& state = *static_cast<State*>(self);
    try {
      if (what == CURL_POLL_REMOVE) {
        const auto found = state.watches_.find(fd);
        if (found == state.watches_.end()) return 0;
        found->second->forget();
        state.watches_.erase(found);
        return 0;
      }
      auto& watch = state.watches_[fd];
      if (!watch) watch = std::make_shared<Watch>(state.loop, fd);
      watch->wants_read = (what & CURL_POLL_IN) != 0;
      watch->wants_write = (what & CURL_POLL_OUT) != 0;
      state.wait_for(fd, watch);
    } catch (const std::exception&) {
      return -1;
    }
    return 0;
  }

  static int on_timer(CURLM*, long milliseconds, void* self) noexcept {
    auto& state = *static_cast<State*>(self);
    try {
      if (milliseconds < 0) {
        state.timer_.cancel();
        return 0;
      }
      state.timer_.expires_after(std::chrono::milliseconds(milliseconds));
      state.timer_.async_wait([weak = state.weak_from_this()](const auto& error) {
        const auto self_again = weak.lock();
        if (error || !self_again) return;
        self_again->act(CURL_SOCKET_TIMEOUT, 0);
      });
    } catch (const std::exception&) {
      return -1;
    }
    return 0;
  }

  void wait_for(int fd, const std::shared_ptr<Watch>& watch) {
    using boost::asio::posix::descriptor_base;
    const auto wait = [&](bool wanted, bool Watch::*waiting, descriptor_base::wait_type kind,
                          int event) {
      if (!wanted || (*watch).*waiting) return;
      (*watch).*waiting = true;
      watch->descriptor.async_wait(
          kind, [weak = weak_from_this(), weak_watch = std::weak_ptr(watch), waiting, event,
                 fd](const boost::system::error_code& error) {
            const auto self = weak.lock();
            const auto again = weak_watch.lock();
            if (!self || !again || error == boost::asio::error::operation_aborted) return;
            (*again).*waiting = false;
            self->act(fd, error ? CURL_CSELECT_ERR : event);
            // libcurl tells of changes only: go on waiting while it still has this socket.
            const auto found = self->watches_.find(fd);
            if (found != self->watches_.end() && found->second == again) self->wait_for(fd, again);
          });
    };
    wait(watch->wants_read, &Watch::reading, descriptor_base::wait_read, CURL_CSELECT_IN);
    wait(watch->wants_write, &Watch::writing, descriptor_base::wait_write, CURL_CSELECT_OUT);
  }

  void act(int fd, int events) {
    if (multi_ == nullptr) return;
    int still_running = 0;
    curl_multi_socket_action(multi_, fd, events, &still_running);
    collect();
  }

  void collect() {
    while (multi_ != nullptr) {
      int left = 0;
      CURLMsg* message = curl_multi_info_read(multi_, &left);
      if (message == nullptr) break;
      if (message->msg != CURLMSG_DONE) continue;
      char* self = nullptr;
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &self);
      const CURLcode code = message->data.result;
      finish(reinterpret_cast<Transfer*>(self)->id, code, {});
    }
    begin_waiting();
  }

  /// The exchange is over; `why` replaces libcurl's words where we ended it.
  void finish(Id id, CURLcode code, std::string why) {
    auto node = running_.extract(id);
    if (node.empty()) return;
    const std::unique_ptr<Transfer> transfer = std::move(node.mapped());
    curl_multi_remove_handle(multi_, transfer->easy.get());
    if (transfer->body == Transfer::Body::kUnasked && code == CURLE_OK) {
      transfer->handler->on_head(transfer->head);  // an answer without a body
    }
    HttpOutcome outcome;
    outcome.head = std::move(transfer->head);
    outcome.text = std::move(transfer->text);
    const bool cut_by_us = code == CURLE_WRITE_ERROR && transfer->body == Transfer::Body::kKept;
    if (transfer->local_refused) {
      outcome.failure = "a redirect to an address of this machine or link is not followed";
      outcome.permanent = true;
    } else if (!why.empty()) {
      outcome.failure = std::move(why);
    } else if (code != CURLE_OK && !cut_by_us) {
      const char* words = transfer->words[0] != '\0' ? transfer->words.data() : "";
      outcome.failure =
          fmt::format("{}{}{}", curl_easy_strerror(code), *words != '\0' ? ": " : "", words);
      outcome.permanent = is_permanent(code);
    }
    idle_.push_back(std::move(transfer->easy));
    transfer->handler->on_done(outcome);
  }

  void begin_waiting() {
    while (multi_ != nullptr && !waiting_.empty() && running_.size() < options.connections) {
      std::unique_ptr<Transfer> transfer = std::move(waiting_.front());
      waiting_.pop_front();
      begin(std::move(transfer));
    }
    if (!running_.empty() && !ticking_) tick();
  }

  void begin(std::unique_ptr<Transfer> transfer) {
    if (idle_.empty()) {
      transfer->easy.reset(curl_easy_init());
    } else {
      transfer->easy = std::move(idle_.back());
      idle_.pop_back();
      curl_easy_reset(transfer->easy.get());
    }
    transfer->last_byte = Clock::now();
    configure(*transfer);
    CURL* easy = transfer->easy.get();
    const Id id = transfer->id;
    running_.emplace(id, std::move(transfer));
    const CURLMcode added = curl_multi_add_handle(multi_, easy);
    if (added != CURLM_OK) {
      boost::asio::post(loop, [weak = weak_from_this(), id, added] {
        if (const auto self = weak.lock(); self && self->multi_ != nullptr) {
          self->finish(id, CURLE_FAILED_INIT, curl_multi_strerror(added));
        }
      });
    }
  }

  void configure(Transfer& transfer) {
    CURL* easy = transfer.easy.get();
    const HttpRequest& request = transfer.request;
    const auto set = [easy](CURLoption option, auto value) {
      curl_easy_setopt(easy, option, value);
    };
    set(CURLOPT_URL, request.url.c_str());
    set(CURLOPT_PRIVATE, &transfer);
    set(CURLOPT_ERRORBUFFER, transfer.words.data());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_QUICK_EXIT, 1L);  // never wait for a name server when dropped
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(CURLOPT_BUFFERSIZE, static_cast<long>(options.buffer_bytes));
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(options.request_timeout.count()));
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_USERAGENT, "shardreel");
    set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
    set(CURLOPT_HEADERDATA, &transfer);
    set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
    set(CURLOPT_WRITEDATA, &transfer);
    set(CURLOPT_OPENSOCKETFUNCTION, &Transfer::open_socket);
    set(CURLOPT_OPENSOCKETDATA, &transfer);
    // A connection that was made to an address nobody checked must not be used again here.
    if (request.refuse_machine || request.refuse_link) set(CURLOPT_FRESH_CONNECT, 1L);
    if (!options.ca_file.empty()) set(CURLOPT_CAINFO, options.ca_file.c_str());
    if (!request.use_proxy) set(CURLOPT_NOPROXY, "*");
    if (request.method == "HEAD") {
      set(CURLOPT_NOBODY, 1L);
    } else if (request.method == "PUT" || request.method == "POST") {
      set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
      set(CURLOPT_POSTFIELDS, request.body.c_str());
      set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
    } else if (request.method != "GET") {
      set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
    curl_slist* list = nullptr;
    for (const std::string& header : request.headers) {
      list = curl_slist_append(list, header.c_str());
    }
    list = curl_slist_append(list, "Expect:");  // no waiting for "100 Continue"
    transfer.headers.reset(list);
    set(CURLOPT_HTTPHEADER, list);
  }

  /// Look for exchanges that stand still, a few times in the time they may.
  void tick() {
    ticking_ = true;
    const auto step = std::clamp(options.stall_timeout / 8, std::chrono::milliseconds(10),
                                 std::chrono::milliseconds(500));
    ticker_.expires_after(step);
    ticker_.async_wait([weak = weak_from_this()](const auto& error) {
      const auto self = weak.lock();
      if (error || !self || self->multi_ == nullptr) return;
      self->ticking_ = false;
      self->end_stalled();
    });
  }

  void end_stalled() {
    const auto oldest = Clock::now() - options.stall_timeout;
    std::vector<Id> stalled;
    for (const auto& [id, transfer] : running_) {
      if (transfer->last_byte < oldest) stalled.push_back(id);
    }
    for (const Id id : stalled) {
      finish(id, CURLE_OPERATION_TIMEDOUT,
             fmt::format("no byte came for {:.1f} s",
                         std::chrono::duration<double>(options.stall_timeout).count()));
    }
    begin_waiting();
  }

  CURLM* multi_ = nullptr;
  steady_timer timer_;   // libcurl's own
  steady_timer ticker_;  // looks for stalls
  bool ticking_ = false;
  std::map<int, std::shared_ptr<Watch>> watches_;  // shared with nobody: weak in the waits
  std::deque<std::unique_ptr<Transfer>> waiting_;
  std::map<Id, std::unique_ptr<Transfer>> running_;
  std::vector<CurlEasy> idle_;
};

HttpClient::HttpClient(boost::asio::io_context& loop, HttpClientOptions options)
    : state_(std::make_shared<State>(loop, std::move(options))) {}

HttpClient::~HttpClient() {
  // The loop's thread may be inside libcurl now: it ends what runs, or the loop's destruction does.
  boost::asio::io_context& loop = state_->loop;
  boost::asio::post(loop, [state = std::move(state_)] { state->close(); });
}

HttpClient::Id HttpClient::start(HttpRequest request, std::shared_ptr<HttpHandler> handler) {
  auto transfer = std::make_unique<Transfer>();
  transfer->id = state_->next_id++;
  transfer->request = std::move(request);
  transfer->handler = std::move(handler);
  const Id id = transfer->id;
  boost::asio::post(state_->loop, [state = state_, transfer = std::move(transfer)]() mutable {
    state->add(std::move(transfer));
  });
  return id;
}

void HttpClient::cancel(Id id) {
  boost::asio::post(state_->loop, [state = state_, id] { state->remove(id); });
}

boost::asio::io_context& HttpClient::loop() const noexcept { return state_->loop; }
const HttpClientOptions& HttpClient::options() const noexcept { return state_->options; }

}  // namespace shardreel
