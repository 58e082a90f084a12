#pragma once
// An object over the network as bytes at any offset, each read by a request of its own.

#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <vector>

#include "loader/base/mutex.h"
#include "loader/read/http/remote_core.h"
#include "shardreel/byte_source.h"

namespace shardreel {

/// Large reads fetch exactly what is asked, into the caller's memory. Small ones go through pages:
/// the first read of a place fetches 128 KiB, reads that go on there up to a page. Holds pages
/// while it lives, at most `kMostPages`. Waits for the network; `stop` ends every wait.
class RemoteObject final : public RandomAccess {
 public:
  /// `head` are the object's first bytes, known already.
  RemoteObject(std::shared_ptr<RemoteCore> core, std::shared_ptr<ObjectTarget> target,
               ObjectIdentity identity, std::vector<std::byte> head, std::stop_token stop);
  ~RemoteObject() override;

  [[nodiscard]] std::uint64_t size() const noexcept override { return identity_.size; }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override;

 private:
  static constexpr std::size_t kMostPages = 4;
  struct Page;
  Result<std::size_t> fetch(std::uint64_t offset, std::span<std::byte> into) const;
  std::shared_ptr<Page> page_for(std::uint64_t offset) const;

  const std::shared_ptr<RemoteCore> core_;
  const std::shared_ptr<ObjectTarget> target_;
  const ObjectIdentity identity_;
  const std::vector<std::byte> head_;
  const std::stop_token stop_;

  mutable Mutex mutex_;
  mutable std::uint64_t clock_ SHARDREEL_GUARDED_BY(mutex_) = 0;
  // Shared with the read that uses one.
  mutable std::vector<std::shared_ptr<Page>> pages_ SHARDREEL_GUARDED_BY(mutex_);
};

}  // namespace shardreel
