#include "loader/read/http/http_client.h"

#include <curl/curl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdlib>
#include <deque>
#include <map>
#include <mutex>

#include "loader/read/http/curl_sockets.h"
#include "loader/read/http/http_link.h"
#include "loader/read/http/http_request_text.h"
#include "loader/read/http/http_transfer.h"
#include "loader/read/http/http_url.h"

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
    sockets_ = std::make_unique<CurlSockets>(loop, multi_,
                                             [this](int fd, int events) { act(fd, events); });
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &State::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options.connections));
    curl_multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    links_ = std::make_shared<HttpLinks>(
        loop, multi_, options,
        [this](Id id, std::string failure) {
          const CURLcode code = failure.empty() ? CURLE_OK : CURLE_RECV_ERROR;
          finish(id, code, std::move(failure));
          begin_waiting();
        },
        [this](Id id) { connect(*running_.at(id)); });
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { close(); }

  /// Drop everything; no handler is called any more.
  void close() {
    if (multi_ == nullptr) return;
    waiting_.clear();
    for (auto& [id, transfer] : running_) leave(*transfer);
    running_.clear();
    links_.reset();
    idle_.clear();
    curl_multi_cleanup(multi_);
    multi_ = nullptr;
    sockets_.reset();
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
    leave(*found->second);
    running_.erase(found);
    begin_waiting();
  }

  void go_on(Id id) {
    const auto found = running_.find(id);
    if (multi_ != nullptr && found != running_.end()) links_->release(*found->second);
  }

  boost::asio::io_context& loop;
  HttpClientOptions options;
  std::atomic<Id> next_id{1};

 private:
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

  void act(int fd, int events) {
    if (multi_ == nullptr) return;
    int still_running = 0;
    curl_multi_socket_action(multi_, fd, events, &still_running);
    collect();
  }

  /// Take the exchange's easy handle from libcurl; a link does so for itself.
  void leave(Transfer& transfer) {
    if (transfer.easy) curl_multi_remove_handle(multi_, transfer.easy.get());
    transfer.reader.reset();
    transfer.link.reset();
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
      auto& transfer = *reinterpret_cast<Transfer*>(self);
      if (code == CURLE_OK && !transfer.request_text.empty()) {
        connected(transfer);
      } else {
        finish(transfer.id, code, {});
      }
    }
    begin_waiting();
  }

  /// libcurl has made a connection for a bulk exchange.
  void connected(Transfer& transfer) {
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(transfer.easy.get(), CURLINFO_ACTIVESOCKET, &fd);
    sockets_->forget(fd);  // libcurl may not have said yet that it looks no more
    try {
      links_->begin_new(transfer);
    } catch (const boost::system::system_error& error) {
      finish(transfer.id, CURLE_RECV_ERROR, error.what());
    }
  }

  /// The exchange is over; `why` replaces libcurl's words where we ended it.
  void finish(Id id, CURLcode code, std::string why) {
    auto node = running_.extract(id);
    if (node.empty()) return;
    const std::unique_ptr<Transfer> transfer = std::move(node.mapped());
    if (transfer->link) links_->end(*transfer);
    leave(*transfer);
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
      outcome.permanent = is_permanent(code);
    } else if (code != CURLE_OK && !cut_by_us) {
      const char* words = transfer->words[0] != '\0' ? transfer->words.data() : "";
      outcome.failure =
          fmt::format("{}{}{}", curl_easy_strerror(code), *words != '\0' ? ": " : "", words);
      outcome.permanent = is_permanent(code);
    }
    if (transfer->easy) idle_.push_back(std::move(transfer->easy));
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

  void begin(std::unique_ptr<Transfer> owned) {
    Transfer& transfer = *owned;
    const Id id = transfer.id;
    running_.emplace(id, std::move(owned));
    transfer.begun = transfer.last_byte = Clock::now();
    if (transfer.request.bulk && !prepare_bulk(transfer)) return;
    if (!transfer.request_text.empty() && links_->begin(transfer)) return;
    connect(transfer);
  }

  /// Find out whether the exchange is one for a link; false when it can have no answer at all.
  bool prepare_bulk(Transfer& transfer) {
    const auto url = parse_http_url(transfer.request.url);
    // libcurl says what is wrong with it.
    if (!url || needs_libcurl(transfer.request, *url)) return true;
    auto text = request_text(transfer.request, *url);
    if (!text) {
      finish_later(transfer.id, CURLE_URL_MALFORMAT, text.error().message);
      return false;
    }
    transfer.request_text = std::move(*text);
    transfer.link_key = link_key(transfer.request, *url);
    return true;
  }

  /// Never from within the call that began it.
  void finish_later(Id id, CURLcode code, std::string why) {
    boost::asio::post(loop, [weak = weak_from_this(), id, code, why = std::move(why)] {
      const auto self = weak.lock();
      if (self && self->multi_ != nullptr) self->finish(id, code, why);
    });
  }

  /// Let libcurl make the exchange, or the connection for it.
  void connect(Transfer& transfer) {
    if (idle_.empty()) {
      transfer.easy.reset(curl_easy_init());
    } else {
      transfer.easy = std::move(idle_.back());
      idle_.pop_back();
      curl_easy_reset(transfer.easy.get());
    }
    configure(transfer);
    CURL* easy = transfer.easy.get();
    const CURLMcode added = curl_multi_add_handle(multi_, easy);
    if (added != CURLM_OK)
      finish_later(transfer.id, CURLE_COULDNT_CONNECT, curl_multi_strerror(added));
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
    if (!transfer.request_text.empty()) {
      set(CURLOPT_CONNECT_ONLY, 1L);
      set(CURLOPT_TIMEOUT_MS, 0L);  // is looked after in `end_stalled`
    }
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
    const auto shorter = std::min(options.stall_timeout, options.request_timeout);
    const auto step =
        std::clamp(shorter / 8, std::chrono::milliseconds(10), std::chrono::milliseconds(500));
    ticker_.expires_after(step);
    ticker_.async_wait([weak = weak_from_this()](const auto& error) {
      const auto self = weak.lock();
      if (error || !self || self->multi_ == nullptr) return;
      self->ticking_ = false;
      self->end_stalled();
    });
  }

  void end_stalled() {
    const auto now = Clock::now();
    std::vector<Id> stalled, late;
    for (const auto& [id, transfer] : running_) {
      if (transfer->last_byte < now - options.stall_timeout) {
        stalled.push_back(id);
      } else if (transfer->begun < now - options.request_timeout) {
        late.push_back(id);
      }
    }
    for (const Id id : stalled) {
      finish(id, CURLE_OPERATION_TIMEDOUT,
             fmt::format("no byte came for {:.1f} s",
                         std::chrono::duration<double>(options.stall_timeout).count()));
    }
    for (const Id id : late) {
      finish(id, CURLE_OPERATION_TIMEDOUT,
             fmt::format("the answer took longer than {:.1f} s",
                         std::chrono::duration<double>(options.request_timeout).count()));
    }
    begin_waiting();
  }

  CURLM* multi_ = nullptr;
  steady_timer timer_;   // libcurl's own
  steady_timer ticker_;  // looks for stalls
  bool ticking_ = false;
  std::unique_ptr<CurlSockets> sockets_;
  std::deque<std::unique_ptr<Transfer>> waiting_;
  std::map<Id, std::unique_ptr<Transfer>> running_;
  std::vector<CurlEasy> idle_;
  std::shared_ptr<HttpLinks> links_;  // weak in what waits for them
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

void HttpClient::go_on(Id id) {
  boost::asio::post(state_->loop, [state = state_, id] { state->go_on(id); });
}

void HttpClient::cancel(Id id) {
  boost::asio::post(state_->loop, [state = state_, id] { state->remove(id); });
}

boost::asio::io_context& HttpClient::loop() const noexcept { return state_->loop; }
const HttpClientOptions& HttpClient::options() const noexcept { return state_->options; }

}  // namespace shardreel
