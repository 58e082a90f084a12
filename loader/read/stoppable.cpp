#include "loader/read/stoppable.h"

#include <utility>

namespace shardreel {
namespace {

Error stopped() { return {ErrorCode::kStopped, "stopped while reading a shard", {}, {}, {}}; }

class StoppableAccess final : public RandomAccess {
 public:
  StoppableAccess(std::shared_ptr<const RandomAccess> of, std::stop_token stop)
      : of_(std::move(of)), stop_(std::move(stop)) {}

  [[nodiscard]] std::uint64_t size() const noexcept override { return of_->size(); }
  Result<std::size_t> read_at(std::uint64_t offset, std::span<std::byte> into) const override {
    if (stop_.stop_requested()) return stopped();
    return of_->read_at(offset, into);
  }
  Result<void> read_pieces(std::span<const ReadPiece> pieces) const override {
    if (stop_.stop_requested()) return stopped();
    return of_->read_pieces(pieces);
  }
  [[nodiscard]] std::shared_ptr<const RandomAccess> part(std::uint64_t offset,
                                                         std::uint64_t size) const override {
    auto own = of_->part(offset, size);
    if (!own) return nullptr;
    return std::make_shared<const StoppableAccess>(std::move(own), stop_);
  }

 private:
  std::shared_ptr<const RandomAccess> of_;  // shared with the stream that made it
  std::stop_token stop_;
};

class StoppableStream final : public ByteStream {
 public:
  StoppableStream(std::unique_ptr<ByteStream> of, std::stop_token stop)
      : of_(std::move(of)), stop_(std::move(stop)) {}

  Result<std::size_t> read(std::span<std::byte> into) override {
    if (stop_.stop_requested()) return stopped();
    return of_->read(into);
  }
  bool go_to(std::uint64_t offset) override { return of_->go_to(offset); }
  [[nodiscard]] std::shared_ptr<const RandomAccess> random_access() const override {
    auto access = of_->random_access();
    if (!access) return nullptr;
    return std::make_shared<const StoppableAccess>(std::move(access), stop_);
  }

 private:
  std::unique_ptr<ByteStream> of_;
  std::stop_token stop_;
};

}  // namespace

std::unique_ptr<ByteStream> stoppable(std::unique_ptr<ByteStream> stream, std::stop_token stop) {
  return std::make_unique<StoppableStream>(std::move(stream), std::move(stop));
}

}  // namespace shardreel
