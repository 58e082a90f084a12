#include "loader/read/source_opener.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>
#include <utility>

#include "loader/read/open_source.h"
#include "loader/read/stoppable.h"

namespace shardreel {

struct SourceOpener::State {
  explicit State(InputOptions given)
      : options(std::move(given)), work(loop.get_executor()), thread([this] { loop.run(); }) {}
  ~State() {
    loop.stop();
    thread.join();
  }

  const InputOptions options;
  boost::asio::io_context loop;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  std::thread thread;  // last: it runs the loop
};

SourceOpener::SourceOpener(InputOptions options)
    : state_(std::make_unique<State>(std::move(options))) {}
SourceOpener::~SourceOpener() = default;

Result<std::unique_ptr<ByteStream>> SourceOpener::open(const std::string& url,
                                                       const std::stop_token& stop) {
  auto stream = open_source(url, state_->options, state_->loop, stop);
  if (!stream) return stream;
  return stoppable(std::move(*stream), stop);
}

}  // namespace shardreel
