#include "loader/read/http/http_link.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace shardreel {
namespace {

using Clock = std::chrono::steady_clock;

// One exchange at a time may keep the loop busy for so long.
constexpr std::size_t kTurnBytes = std::size_t{1} << 20;
// A wait is for so many bytes where more than that are to come, unless they come slowly.
constexpr std::size_t kManyBytes = std::size_t{256} << 10;
constexpr std::size_t kFewBytes = std::size_t{32} << 10;
constexpr std::size_t kMostText = 16384;
// A server closes what is idle for a minute or so: better not to try.
constexpr std::chrono::seconds kLongestIdle{50};

int socket_of(CURL* easy) {
  curl_socket_t socket = CURL_SOCKET_BAD;
  curl_easy_getinfo(easy, CURLINFO_ACTIVESOCKET, &socket);
  return socket;
}

}  // namespace

HttpHandler::Next HttpHandler::on_body(HttpBody& body) {
  std::array<std::byte, 16384> piece;
  const std::size_t count = body.read(piece);
  return count == 0 || on_bytes(std::span(piece).first(count)) ? Next::kMore : Next::kCut;
}

HttpLink::HttpLink(boost::asio::io_context& loop, CURLM* multi, CurlEasy easy)
    : multi_(multi), easy_(std::move(easy)), socket_(socket_of(easy_.get())), descriptor_(loop) {
  // Nothing of the exchange that it was made for may be touched any more.
  curl_easy_setopt(easy_.get(), CURLOPT_ERRORBUFFER, words_.data());
  curl_easy_setopt(easy_.get(), CURLOPT_PRIVATE, nullptr);
  curl_easy_setopt(easy_.get(), CURLOPT_HTTPHEADER, nullptr);
  curl_easy_setopt(easy_.get(), CURLOPT_OPENSOCKETDATA, nullptr);
  descriptor_.assign(socket_);
}

HttpLink::~HttpLink() {
  if (descriptor_.is_open()) descriptor_.release();  // before libcurl closes it
  curl_multi_remove_handle(multi_, easy_.get());
}

HttpWire::Got HttpLink::receive(std::span<std::byte> into) {
  std::size_t got = 0;
  code_ = curl_easy_recv(easy_.get(), into.data(), into.size(), &got);
  if (code_ == CURLE_AGAIN) return {State::kNothing, 0};
  if (code_ != CURLE_OK) return {State::kBroken, 0};
  return {got > 0 ? State::kBytes : State::kClosed, got};
}

std::string HttpLink::complaint() const {
  return fmt::format("{}{}{}", curl_easy_strerror(code_), words_[0] != '\0' ? ": " : "",
                     words_.data());
}

bool HttpLink::send(std::string& text) {
  while (!text.empty()) {
    std::size_t sent = 0;
    code_ = curl_easy_send(easy_.get(), text.data(), text.size(), &sent);
    if (code_ == CURLE_AGAIN) return true;
    if (code_ != CURLE_OK) return false;
    text.erase(0, sent);
  }
  return true;
}

void HttpLink::wait(bool for_room, std::function<void(bool)> ready) {
  using boost::asio::posix::descriptor_base;
  descriptor_.async_wait(for_room ? descriptor_base::wait_write : descriptor_base::wait_read,
                         [ready = std::move(ready)](const boost::system::error_code& error) {
                           if (error != boost::asio::error::operation_aborted) ready(!error);
                         });
}

void HttpLink::expect(std::size_t bytes) {
  if (bytes == expected_) return;
  expected_ = bytes;
  const int least = static_cast<int>(bytes);
  setsockopt(socket_, SOL_SOCKET, SO_RCVLOWAT, &least, sizeof least);  // no matter where it fails
}

bool HttpLink::is_quiet() const {
  char byte = 0;
  const ssize_t got = recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  // Over TLS something may have come that is no answer (a ticket); over plain HTTP nothing may.
  return got < 0 ? errno == EAGAIN || errno == EWOULDBLOCK : got > 0 && key.starts_with("https:");
}

HttpLinks::HttpLinks(boost::asio::io_context& loop, CURLM* multi, const HttpClientOptions& options,
                     Ended ended, Lost lost)
    : loop_(loop),
      multi_(multi),
      options_(options),
      ended_(std::move(ended)),
      lost_(std::move(lost)),
      timer_(loop) {}

bool HttpLinks::begin(Transfer& transfer) {
  const auto oldest = Clock::now() - kLongestIdle;
  std::erase_if(idle_, [oldest](const auto& link) { return link->idle_since < oldest; });
  while (true) {
    // The one that was used last: its window is open.
    const auto found = std::find_if(idle_.rbegin(), idle_.rend(), [&](const auto& link) {
      return link->key == transfer.link_key;
    });
    if (found == idle_.rend()) return false;
    std::shared_ptr<HttpLink> link = std::move(*found);
    idle_.erase(std::next(found).base());
    if (!link->is_quiet()) continue;
    transfer.link = std::move(link);
    break;
  }
  transfer.reader = std::make_unique<HttpAnswerReader>(*transfer.link);
  transfer.unsent = transfer.request_text;
  // Its caller is not done with it.
  boost::asio::post(loop_, [weak = weak_from_this(), held = std::weak_ptr(transfer.alive)] {
    const auto self = weak.lock();
    const auto alive = held.lock();
    if (self && alive) self->go_on(**alive);
  });
  return true;
}

void HttpLinks::begin_new(Transfer& transfer) {
  transfer.link = std::make_shared<HttpLink>(loop_, multi_, std::move(transfer.easy));
  transfer.link->key = transfer.link_key;
  transfer.reader = std::make_unique<HttpAnswerReader>(*transfer.link);
  transfer.unsent = transfer.request_text;
  go_on(transfer);
}

void HttpLinks::end(Transfer& transfer) {
  const bool keeps = transfer.reader &&
                     transfer.reader->state() == HttpAnswerReader::State::kEnded &&
                     transfer.reader->reusable();
  transfer.reader.reset();
  if (!keeps) return transfer.link.reset();
  transfer.link->used = true;
  transfer.link->idle_since = Clock::now();
  idle_.push_back(std::move(transfer.link));
  if (idle_.size() > options_.connections) idle_.pop_front();
}

void HttpLinks::go_on(Transfer& transfer) {
  const auto again = [weak = weak_from_this(), held = std::weak_ptr(transfer.alive)](bool good) {
    const auto self = weak.lock();
    const auto alive = held.lock();
    if (!self || !alive) return;
    if (!good) return self->over(**alive, "waiting for the connection failed");
    self->go_on(**alive);
  };
  transfer.pause = Transfer::Pause::kNone;
  switch (turn(transfer)) {
    case Turn::kOver: return;
    case Turn::kHold: return pause(transfer, Transfer::Pause::kHeld);
    case Turn::kAgain: return boost::asio::post(loop_, [again] { again(true); });
    case Turn::kRead: return wait_for_bytes(transfer, again);
    case Turn::kRoom: return transfer.link->wait(true, again);
  }
}

/// As much of the exchange as can be done without waiting. With kOver the transfer is gone.
HttpLinks::Turn HttpLinks::turn(Transfer& transfer) {
  using State = HttpAnswerReader::State;
  HttpAnswerReader& reader = *transfer.reader;
  if (!transfer.unsent.empty()) {
    const bool sent = transfer.link->send(transfer.unsent);
    if (sent && !transfer.unsent.empty()) return Turn::kRoom;
    // What could not be sent may have been answered all the same.
    transfer.unsent.clear();
  }
  if (reader.state() == State::kHead) {
    reader.read_head();
    if (reader.begun()) transfer.last_byte = Clock::now();
    if (reader.state() == State::kHead) return Turn::kRead;
    if (reader.state() != State::kFailed) {
      transfer.head = reader.head();
      transfer.body =
          transfer.handler->on_head(transfer.head) ? Transfer::Body::kTaken : Transfer::Body::kKept;
    } else if (!reader.begun() && transfer.link->used) {
      // Closed between two requests: nobody is to blame.
      transfer.reader.reset();
      transfer.link.reset();
      lost_(transfer.id);
      return Turn::kOver;
    }
  }
  if (reader.state() == State::kBody) return turn_of_body(transfer);
  over(transfer, reader.failure());
  return Turn::kOver;
}

HttpLinks::Turn HttpLinks::turn_of_body(Transfer& transfer) {
  using State = HttpAnswerReader::State;
  HttpAnswerReader& reader = *transfer.reader;
  const std::uint64_t begin = reader.taken();
  while (reader.state() == State::kBody && reader.taken() - begin < kTurnBytes) {
    const std::uint64_t before = reader.taken();
    if (transfer.body == Transfer::Body::kTaken) {
      const HttpHandler::Next next = transfer.handler->on_body(reader);
      if (next == HttpHandler::Next::kCut) {
        over(transfer, "the body was not taken");
        return Turn::kOver;
      }
      if (reader.taken() != before) transfer.last_byte = Clock::now();
      if (next == HttpHandler::Next::kHold && reader.state() == State::kBody) return Turn::kHold;
    } else {
      // An error's text is short and worth the connection; anything longer is not read to its end.
      std::array<char, 4096> text;
      const std::size_t count = reader.read(std::as_writable_bytes(std::span(text)));
      transfer.text.append(text.data(), std::min(count, kMostText - transfer.text.size()));
      if (transfer.text.size() == kMostText) {
        over(transfer, {});
        return Turn::kOver;
      }
    }
    if (reader.taken() == before && reader.state() == State::kBody) return Turn::kRead;
    transfer.last_byte = Clock::now();
    if (reader.taken() - begin >= kManyBytes) transfer.slow = false;
  }
  if (reader.state() == State::kBody) return Turn::kAgain;
  over(transfer, reader.failure());
  return Turn::kOver;
}

/// For many at a time, which is many times cheaper; but not for long.
void HttpLinks::wait_for_bytes(Transfer& transfer, std::function<void(bool)> ready) {
  const std::uint64_t left = transfer.reader->left();
  const bool many = !transfer.slow && transfer.reader->taken() > 0 && left >= 2 * kFewBytes;
  transfer.link->expect(
      many ? static_cast<std::size_t>(std::min<std::uint64_t>(left / 2, kManyBytes)) : 1);
  if (many) pause(transfer, Transfer::Pause::kForMany);
  transfer.link->wait(false, std::move(ready));
}

void HttpLinks::pause(Transfer& transfer, Transfer::Pause kind) {
  transfer.pause = kind;
  pauses_.push_back({transfer.alive, ++transfer.pauses, Clock::now() + options_.hold_time});
  if (!timing_) end_pauses();
}

/// End what lasted long enough, and look again when the next one has.
void HttpLinks::end_pauses() {
  timing_ = false;
  const auto now = Clock::now();
  while (!pauses_.empty()) {
    const auto alive = pauses_.front().transfer.lock();
    const bool over = !alive || (*alive)->pauses != pauses_.front().number ||
                      (*alive)->pause == Transfer::Pause::kNone;
    if (!over && pauses_.front().until > now) break;
    pauses_.pop_front();
    if (over) continue;
    if ((*alive)->pause == Transfer::Pause::kHeld) {
      release(**alive);
    } else {
      (*alive)->slow = true;
      (*alive)->link->expect(1);
    }
  }
  if (pauses_.empty() || timing_) return;
  timing_ = true;
  timer_.expires_at(pauses_.front().until);
  timer_.async_wait([weak = weak_from_this()](const boost::system::error_code& error) {
    const auto self = weak.lock();
    if (self && !error) self->end_pauses();
  });
}

void HttpLinks::release(Transfer& transfer) {
  if (transfer.pause != Transfer::Pause::kHeld) return;
  go_on(transfer);
}

void HttpLinks::over(Transfer& transfer, std::string failure) {
  ended_(transfer.id, std::move(failure));
}

}  // namespace shardreel
