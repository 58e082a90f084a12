#pragma once
// Remote sources with a loop of their own, and short waits.

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "loader/read/http/remote_sources.h"
#include "loader/read/open_source.h"
#include "shardreel/byte_source.h"

namespace shardreel::testing {

/// Call `round` with 0, 1, … below `count` on so many threads: for rounds that mostly wait.
template <typename Round>
void run_together(std::uint64_t count, int threads, const Round& round) {
  std::atomic<std::uint64_t> next = 0;
  std::vector<std::jthread> running;
  for (int i = 0; i < threads; ++i) {
    running.emplace_back([&] {
      for (std::uint64_t at = next++; at < count; at = next++) round(at);
    });
  }
}

inline InputOptions quick_options() {
  InputOptions options;
  options.retries = 4;
  options.request_timeout = 5;
  options.stall_timeout = 0.3;
  options.shard_timeout = 20;
  return options;
}

class Remote {
 public:
  explicit Remote(InputOptions with = quick_options(), RemoteShape shape = RemoteShape())
      : options(std::move(with)),
        thread_([this] { loop_.run(); }),
        sources(std::make_unique<RemoteSources>(options, shape, ledger, loop_)) {}
  ~Remote() {
    sources.reset();
    work_.reset();
    loop_.stop();
    thread_.join();
  }

  Result<std::unique_ptr<ByteStream>> open(const std::string& url) {
    return open_source(url, options, loop_, sources.get(), stop.get_token());
  }

  /// Read to the end or the first error, in odd portions.
  static Result<std::string> read_all(ByteStream& stream, std::size_t portion = 77777) {
    std::string text;
    std::string block(portion, '\0');
    for (;;) {
      const auto got = stream.read(std::as_writable_bytes(std::span(block)));
      if (!got) return got.error();
      if (*got == 0) return text;
      text.append(block, 0, *got);
    }
  }
  Result<std::string> read_all(const std::string& url) {
    auto stream = open(url);
    if (!stream) return stream.error();
    return read_all(**stream);
  }

  InputOptions options;
  MemoryLedger ledger;
  std::stop_source stop;

 private:
  boost::asio::io_context loop_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      loop_.get_executor()};
  std::thread thread_;

 public:
  std::unique_ptr<RemoteSources> sources;
};

/// Bytes that say where they are: no two places look alike.
inline std::string pattern(std::size_t bytes) {
  std::string text(bytes, '\0');
  std::uint64_t state = 88172645463325252ULL;
  for (std::size_t i = 0; i < bytes; ++i) {
    if (i % 8 == 0) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
    }
    text[i] = static_cast<char>(state >> (8 * (i % 8)));
  }
  return text;
}

}  // namespace shardreel::testing
