#pragma once
// Connections that libcurl makes (names, proxies, TLS) and that are then written and read without
// its HTTP: a body comes straight to where its handler wants it.

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <string>

#include "loader/read/http/curl_handles.h"
#include "loader/read/http/http_answer_reader.h"
#include "loader/read/http/http_transfer.h"

namespace shardreel {

/// One connection. The easy handle stays in its multi handle as long as this lives: out of it, the
/// connection is gone.
class HttpLink final : public HttpWire {
 public:
  /// `easy` has just connected. A failure throws boost::system::system_error.
  HttpLink(boost::asio::io_context& loop, CURLM* multi, CurlEasy easy);
  HttpLink(const HttpLink&) = delete;
  HttpLink& operator=(const HttpLink&) = delete;
  ~HttpLink() override;

  Got receive(std::span<std::byte> into) override;
  [[nodiscard]] std::string complaint() const override;
  /// Send of `text` what fits now, and take that off it; false when the connection broke.
  bool send(std::string& text);
  /// Let `ready` be called once when bytes came (or room for some), with `false` when waiting
  /// failed; not after the link is gone.
  void wait(bool for_room, std::function<void(bool)> ready);
  /// Wait for that many bytes next time, or the end; 1 = for any.
  void expect(std::size_t bytes);
  /// Whether an idle connection is as quiet as it must be.
  [[nodiscard]] bool is_quiet() const;

  std::string key;
  std::chrono::steady_clock::time_point idle_since;
  bool used = false;  ///< an answer came over it

 private:
  CURLM* const multi_;
  const CurlEasy easy_;
  int socket_ = -1;  // libcurl's
  boost::asio::posix::stream_descriptor descriptor_;
  std::size_t expected_ = 1;
  CURLcode code_ = CURLE_OK;
  std::array<char, CURL_ERROR_SIZE> words_{};
};

/// The exchanges on such connections, and the connections between two of them. On the loop's
/// thread.
class HttpLinks : public std::enable_shared_from_this<HttpLinks> {
 public:
  /// How an exchange ended: `failure` empty = well.
  using Ended = std::function<void(HttpClient::Id, std::string failure)>;
  /// The connection was over before the request: another must be made.
  using Lost = std::function<void(HttpClient::Id)>;
  HttpLinks(boost::asio::io_context& loop, CURLM* multi, const HttpClientOptions& options,
            Ended ended, Lost lost);

  /// Begin on a connection that is there; false when there is none.
  bool begin(Transfer& transfer);
  /// Begin on the connection that the transfer's easy handle has made.
  void begin_new(Transfer& transfer);
  /// Go on with an exchange that its handler holds, if it does.
  void release(Transfer& transfer);
  /// The exchange of `link` is over; keep the connection where that can be done.
  void end(Transfer& transfer);

 private:
  enum class Turn { kRead, kRoom, kAgain, kHold, kOver };
  void go_on(Transfer& transfer);
  Turn turn(Transfer& transfer);
  Turn turn_of_body(Transfer& transfer);
  void over(Transfer& transfer, std::string failure);
  void wait_for_bytes(Transfer& transfer, std::function<void(bool)> ready);
  void pause(Transfer& transfer, Transfer::Pause kind);
  void end_pauses();

  boost::asio::io_context& loop_;
  CURLM* const multi_;
  const HttpClientOptions& options_;
  const Ended ended_;
  const Lost lost_;
  std::list<std::shared_ptr<HttpLink>> idle_;  // the oldest first

  struct Pause {
    std::weak_ptr<Transfer*> transfer;
    std::uint64_t number = 0;
    std::chrono::steady_clock::time_point until;
  };
  std::deque<Pause> pauses_;         // the first to end first; some may have ended before
  boost::asio::steady_timer timer_;  // for the first, or one before it
  bool timing_ = false;
};

}  // namespace shardreel
