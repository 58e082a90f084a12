#pragma once
// An HTTP/1.1 server on loopback whose answers a test decides, faults included, and which remembers
// what it was asked. It needs nothing installed; real servers are in tests/servers.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace shardreel::testing {

struct SeenRequest {
  std::string method, target;                  ///< as sent: path and query, encoded
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;

  [[nodiscard]] std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
};

struct FaultReply {
  int status = 200;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::optional<std::uint64_t> content_length;  ///< said instead of the body's own
  bool say_length = true;
  std::size_t chunk_bytes = 0;  ///< if not 0: send the body in chunks of so many bytes

  // Faults; `after` counts bytes of the body, of its chunks with their sizes where it has any.
  static constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
  std::size_t cut_after = kNever;            ///< close the connection (TLS: without its goodbye)
  std::size_t reset_after = kNever;          ///< the same with a TCP reset
  std::size_t stall_after = kNever;          ///< send no more until the client gives up
  std::chrono::milliseconds delay{0};        ///< before the head
  std::size_t piece_bytes = kNever;          ///< send the body in such pieces …
  std::chrono::milliseconds piece_delay{0};  ///< … with this time between them
  bool no_answer = false;                    ///< close without a head
  bool close_after = false;                  ///< close behind the answer, without a word before
};

/// The right answer of a good server: the range that was asked for, 412 and 416 where due.
FaultReply range_reply(const SeenRequest& request, const std::string& content,
                       const std::string& etag);

class FaultServer {
 public:
  using Handler = std::function<FaultReply(const SeenRequest&)>;
  enum class Kind { kPlain, kTls };

  /// Starts on a free port of 127.0.0.1. The handler is called from many threads, one at a time.
  explicit FaultServer(Handler handler, Kind kind = Kind::kPlain);
  FaultServer(const FaultServer&) = delete;
  FaultServer& operator=(const FaultServer&) = delete;
  ~FaultServer();

  [[nodiscard]] std::uint16_t port() const { return port_; }
  /// "http(s)://127.0.0.1:PORT" + path.
  [[nodiscard]] std::string url(const std::string& path) const;
  /// The certificate to trust, for kTls.
  [[nodiscard]] static std::string ca_file();

  [[nodiscard]] std::vector<SeenRequest> requests() const;
  /// Bytes of bodies sent so far.
  [[nodiscard]] std::uint64_t body_bytes() const { return body_bytes_; }
  /// Connections so far.
  [[nodiscard]] int connections() const { return connections_; }
  /// The most exchanges that were answered at one time.
  [[nodiscard]] int most_at_once() const { return most_at_once_; }

 private:
  class Connection;
  void accept();
  void serve(int fd);
  bool answer(Connection& connection);

  const Handler handler_;
  const Kind kind_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> body_bytes_{0};
  std::atomic<int> at_once_{0}, most_at_once_{0}, connections_{0};
  mutable std::mutex mutex_;  // of what follows and of the handler
  std::vector<SeenRequest> requests_;
  std::vector<std::thread> threads_;
  std::vector<int> open_;
  std::shared_ptr<void> tls_;
  std::thread acceptor_;
};

}  // namespace shardreel::testing
