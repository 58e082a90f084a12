#pragma once
// An object over the network as bytes in order, fetched ahead by several ranges at a time.

#include <cstdint>
#include <deque>
#include <memory>
#include <stop_token>
#include <vector>

#include "loader/read/http/range_pace.h"
#include "loader/read/http/remote_core.h"
#include "loader/read/http/remote_object.h"
#include "shardreel/byte_source.h"

namespace shardreel {

/// Holds at most `shape.stream_bytes` of ranges, in flight or not yet read; they are reserved
/// before they are asked for, so a reader that stands still stops the network. Waits for bytes and
/// for that memory (which other streams give back without help); `stop` ends every wait.
class RemoteStream final : public ByteStream {
 public:
  /// Ask for the first bytes and wait for the answer: what cannot be opened is an error here.
  static Result<std::unique_ptr<RemoteStream>> open(std::shared_ptr<RemoteCore> core,
                                                    std::shared_ptr<ObjectTarget> target,
                                                    const std::stop_token& stop);
  ~RemoteStream() override;

  /// The version that is read.
  [[nodiscard]] const ObjectIdentity& identity() const noexcept { return *identity_; }

  Result<std::size_t> read(std::span<std::byte> into) override;
  bool go_to(std::uint64_t offset) override;
  [[nodiscard]] std::shared_ptr<const RandomAccess> random_access() const override {
    return object_;
  }

 private:
  struct Range {
    std::uint64_t first = 0;
    std::size_t bytes = 0;
    RangeBlock block;
    std::shared_ptr<RangeFetch> fetch;  // shared with the loop
    bool waited = false;
    std::size_t valid_from = 0;  // what came before went to the reader past the block
  };
  RemoteStream(std::shared_ptr<RemoteCore> core, std::shared_ptr<ObjectTarget> target,
               const std::stop_token& stop);
  Result<void> probe();
  void drop_passed();
  void drop_front();
  bool ask(std::size_t bytes);
  void ask_ahead();
  Result<void> wait(Signal& news, std::uint64_t seen) const;  // for memory
  Result<void> wait_for_bytes(std::uint64_t seen) const;
  Result<std::size_t> receive(Range& range, std::span<std::byte> into);

  const std::shared_ptr<RemoteCore> core_;
  const std::shared_ptr<ObjectTarget> target_;
  const std::shared_ptr<WaitBound> bound_;  // shared with the object
  const std::stop_token stop_;
  const std::shared_ptr<Signal> news_;  // shared with the fetches
  const std::size_t block_bytes_;
  RangePace pace_;
  std::optional<ObjectIdentity> identity_;
  std::shared_ptr<const RemoteObject> object_;  // shared with large members
  std::uint64_t position_ = 0;
  std::uint64_t next_ = 0;    // first byte that nobody asked for yet
  std::deque<Range> window_;  // in order, without gaps, up to `next_`
  std::vector<RangeBlock> idle_;
  std::optional<Error> failure_;
};

}  // namespace shardreel
