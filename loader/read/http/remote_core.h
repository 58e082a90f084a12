#pragma once
// What everything read over the network shares: the client, the counts, the memory of bytes in
// flight.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "loader/base/signal.h"
#include "loader/memory/memory_budget.h"
#include "loader/read/http/http_client.h"
#include "loader/read/http/range_fetch.h"
#include "loader/read/http/remote_shape.h"

namespace shardreel {

/// Mapped memory that is reserved as long as it lives. Move-only.
class RangeBlock {
 public:
  /// Nothing when the share has no room now.
  static std::optional<RangeBlock> make(MemoryShare& share, std::size_t bytes);
  RangeBlock(RangeBlock&& other) noexcept;
  RangeBlock& operator=(RangeBlock&& other) noexcept;
  ~RangeBlock();
  [[nodiscard]] std::span<std::byte> span() const noexcept { return {data_, bytes_}; }

 private:
  RangeBlock(Reservation reservation, std::byte* data, std::size_t bytes)
      : reservation_(std::move(reservation)), data_(data), bytes_(bytes) {}
  Reservation reservation_;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Made once a loader; shared by the streams and objects that read with it.
struct RemoteCore {
  RemoteCore(boost::asio::io_context& loop, const HttpClientOptions& client_options,
             const RetryPolicy& policy, const RemoteShape& remote_shape, MemoryLedger& ledger)
      : shape(remote_shape),
        client(std::make_shared<HttpClient>(loop, client_options)),
        fetching{client, policy, std::make_shared<RemoteCounters>()},
        windows(ledger, "remote ranges", shape.streams * shape.stream_bytes),
        pages(ledger, "remote pages", shape.pages * RemoteShape::kPageBytes),
        buffers(ledger, "connections", shape.connections * shape.connection_bytes) {
    windows.on_release([this] { freed.raise(); });
    if (auto taken = buffers.try_reserve(buffers.capacity(), MemoryTag::kEncoded)) {
      connection_buffers = std::move(*taken);
    }
  }

  const RemoteShape shape;
  const std::shared_ptr<HttpClient> client;  // weak in the fetches
  const FetchContext fetching;
  Signal freed;         ///< raised when bytes of `windows` came back
  MemoryShare windows;  ///< of streams that are read ahead
  MemoryShare pages;    ///< of reads on demand
  MemoryShare buffers;
  Reservation connection_buffers;  ///< libcurl's, for as long as the client lives
};

}  // namespace shardreel
