#pragma once
// An object over the network as bytes at any offset, each read by a request of its own.

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/read/http/remote_core.h"
#include "loader/read/wait_bound.h"
#include "shardreel/byte_source.h"

namespace shardreel {

/// Large reads and pieces fetch exactly what is asked, into the caller's memory. Small reads go
/// through pages: the first of a place fetches 128 KiB, reads that go on there up to a page, never
/// beyond the end of a part. Holds pages while it lives: four, a part one. Waits for the network;
/// `stop` ends every wait.
class RemoteObject final : public RandomAccess {
 public:
  /// `head` are the object's first bytes, known already; `bound` is that of all who read it.
  RemoteObject(std::shared_ptr<RemoteCore> core, std::shared_ptr<ObjectTarget> target,
               ObjectIdentity identity, std::vector<std::byte> head,
               std::shared_ptr<WaitBound> bound, std::stop_token stop);
  ~RemoteObject() override;

  [[nodiscard]] const ObjectIdentity& identity() const noexcept { return identity_; }
  [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override;
  Result<void> read_pieces(std::span<const ReadPiece> pieces) const override;
  [[nodiscard]] std::shared_ptr<const RandomAccess> part(std::uint64_t offset,
                                                         std::uint64_t size) const override;

 private:
  struct Page;
  using Head = std::shared_ptr<const std::vector<std::byte>>;  // shared by an object and its parts
  RemoteObject(const RemoteObject& whole, std::uint64_t begin, std::uint64_t size);
  [[nodiscard]] std::shared_ptr<RangeFetch> begin(std::uint64_t at, std::span<std::byte> into,
                                                  std::shared_ptr<Signal> news) const;
  // All offsets of these are the object's.
  Result<std::size_t> read_from(std::uint64_t first, std::span<std::byte> into) const;
  Result<std::size_t> fetch(std::uint64_t at, std::span<std::byte> into) const;
  std::shared_ptr<Page> page_for(std::uint64_t at) const;
  Result<void> wait_for(Signal& news, std::uint64_t seen, const WaitBound::Wait& wait,
                        std::uint64_t at) const;

  const std::shared_ptr<RemoteCore> core_;
  const std::shared_ptr<ObjectTarget> target_;
  const ObjectIdentity identity_;
  const Head head_;
  const std::shared_ptr<WaitBound> bound_;  // shared with the stream and the parts
  const std::stop_token stop_;
  const std::uint64_t begin_ = 0;  // of this part in the object
  const std::uint64_t size_;
  const std::uint64_t end_;  // no further than the object's
  const std::size_t most_pages_;

  mutable Mutex mutex_;
  mutable std::uint64_t clock_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  // Shared with the read that uses one.
  mutable std::vector<std::shared_ptr<Page>> pages_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
