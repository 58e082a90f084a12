#include "loader/read/source_opener.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <thread>
#include <utility>

#include "loader/memory/memory_budget.h"
#include "loader/read/http/remote_sources.h"
#include "loader/read/open_source.h"
#include "loader/read/stoppable.h"

namespace shardreel {
namespace {

// A bound of memory only: more shards than any program here has open at one time.
constexpr std::uint64_t kMostStreams = 64;

// A sample's content may be read long after the walk over its shard is over: what was opened keeps
// the loop that serves it.
class KeepingAccess final : public RandomAccess {
 public:
  KeepingAccess(std::shared_ptr<void> keep, std::shared_ptr<const RandomAccess> of)
      : keep_(std::move(keep)), of_(std::move(of)) {}
  [[nodiscard]] std::uint64_t size() const noexcept override { return of_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    return of_->read_at(offset, into);
  }
  Result<void> read_pieces(std::span<const ReadPiece> pieces) const override {
    return of_->read_pieces(pieces);
  }
  [[nodiscard]] std::shared_ptr<const RandomAccess> part(std::uint64_t offset,
                                                         std::uint64_t size) const override {
    auto own = of_->part(offset, size);
    if (!own) return nullptr;
    return std::make_shared<const KeepingAccess>(keep_, std::move(own));
  }

 private:
  std::shared_ptr<void> keep_;  // before what needs it: destroyed after it
  std::shared_ptr<const RandomAccess> of_;
};

class KeepingStream final : public ByteStream {
 public:
  KeepingStream(std::shared_ptr<void> keep, std::unique_ptr<ByteStream> of)
      : keep_(std::move(keep)), of_(std::move(of)) {}
  Result<std::size_t> read(std::span<std::byte> into) override { return of_->read(into); }
  bool go_to(std::uint64_t offset) override { return of_->go_to(offset); }
  [[nodiscard]] std::shared_ptr<const RandomAccess> random_access() const override {
    auto access = of_->random_access();
    if (!access) return nullptr;
    return std::make_shared<const KeepingAccess>(keep_, std::move(access));
  }

 private:
  std::shared_ptr<void> keep_;
  std::unique_ptr<ByteStream> of_;
};

}  // namespace

struct SourceOpener::State {
  explicit State(InputOptions given)
      : options(std::move(given)),
        work(loop.get_executor()),
        remote(options, RemoteShape{.streams = kMostStreams}, ledger, loop),
        thread([this] { loop.run(); }) {}
  ~State() {
    loop.stop();
    thread.join();
  }

  const InputOptions options;
  MemoryLedger ledger;
  boost::asio::io_context loop;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  RemoteSources remote;
  std::thread thread;  // last: it runs the loop
};

SourceOpener::SourceOpener(InputOptions options)
    : state_(std::make_shared<State>(std::move(options))) {}
SourceOpener::~SourceOpener() = default;

Result<std::unique_ptr<ByteStream>> SourceOpener::open(const std::string& url,
                                                       const std::stop_token& stop) {
  auto stream = open_source(url, state_->options, state_->loop, &state_->remote, stop);
  if (!stream) return stream;
  return std::unique_ptr<ByteStream>(
      std::make_unique<KeepingStream>(state_, stoppable(std::move(*stream), stop)));
}

}  // namespace shardreel
