#include "shards/reference_stream.h"

#include <bzlib.h>
#include <fmt/format.h>
#include <lzma.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <vector>

#include "shards/decompress.h"

namespace shardreel {
namespace {

// The reference looks at a block of tar first and reads the rest in pieces of twenty: what a
// damaged piece takes with it depends on these sizes.
constexpr std::size_t kFirstPiece = 512;
constexpr std::size_t kPiece = 10240;

// The reference has no bound. Real archives stay far below it: tar's zeros compress best, with
// bzip2 to 200 MiB a piece.
constexpr std::size_t kMostOutput = std::size_t{256} << 20;
constexpr std::size_t kStep = std::size_t{64} << 10;

Error damaged(std::string_view why) {
  return Error{
      ErrorCode::kCorruptArchive,
      fmt::format("damaged compressed data ({}); the reference implementation stops here", why),
      {},
      {},
      {}};
}

/// Decompresses piece by piece; each piece whole or not at all.
class PieceDecoder {
 public:
  PieceDecoder() = default;
  PieceDecoder(const PieceDecoder&) = delete;
  PieceDecoder& operator=(const PieceDecoder&) = delete;
  virtual ~PieceDecoder() = default;
  /// Append what the piece decompresses to.
  virtual Result<void> decode(std::span<std::byte> piece, std::vector<std::byte>& out) = 0;

 protected:
  /// Room for more output, of which `free` bytes were not used last time.
  static Result<std::span<std::byte>> room(std::vector<std::byte>& out, std::size_t free) {
    const std::size_t used = out.size() - free;
    if (used > kMostOutput) return damaged("a piece of it stands for too much");
    out.resize(used + std::max(kStep, used / 2));
    return std::span(out).subspan(used);
  }
};

class GzipDecoder final : public PieceDecoder {
 public:
  ~GzipDecoder() override {
    if (started_) inflateEnd(&stream_);
  }

  Result<void> decode(std::span<std::byte> piece, std::vector<std::byte>& out) override {
    if (!started_) {
      // Raw deflate: the wrapper is read here, as the reference does.
      head_.insert(head_.end(), piece.begin(), piece.end());
      const auto begin = header_end();
      if (!begin) return std::move(begin.error());
      if (*begin == 0) return {};
      if (inflateInit2(&stream_, -MAX_WBITS) != Z_OK) return damaged("zlib does not start");
      started_ = true;
      piece = std::span(head_).subspan(*begin);
    }
    if (ended_) return {};
    stream_.next_in = reinterpret_cast<Bytef*>(piece.data());
    stream_.avail_in = static_cast<uInt>(piece.size());
    do {
      auto into = room(out, stream_.avail_out);
      if (!into) return std::move(into.error());
      stream_.next_out = reinterpret_cast<Bytef*>(into->data());
      stream_.avail_out = static_cast<uInt>(into->size());
      const int status = inflate(&stream_, Z_SYNC_FLUSH);
      ended_ = status == Z_STREAM_END;
      if (!ended_ && status != Z_OK && status != Z_BUF_ERROR) return damaged("gzip");
    } while (!ended_ && stream_.avail_out == 0);
    out.resize(out.size() - stream_.avail_out);
    stream_.avail_out = 0;
    return {};
  }

 private:
  /// Where the data begins; 0 = the header goes on behind what is there.
  [[nodiscard]] Result<std::size_t> header_end() const {
    constexpr std::size_t kFixed = 10;
    if (head_.size() < kFixed) return std::size_t{0};
    const auto flags = std::to_integer<unsigned>(head_[3]);
    std::size_t at = kFixed;
    if ((flags & 4U) != 0) {
      // Its code for extra fields fails on all but empty ones.
      if (head_.size() < at + 2) return std::size_t{0};
      if (head_[at] != std::byte{0} || head_[at + 1] != std::byte{0}) {
        return damaged("gzip with an extra field");
      }
      at += 2;
    }
    for (const unsigned text : {8U, 16U}) {  // a name and a comment, each ended by a zero
      if ((flags & text) == 0) continue;
      const auto from = head_.begin() + static_cast<std::ptrdiff_t>(at);
      const auto zero = std::find(from, head_.end(), std::byte{0});
      if (zero == head_.end()) return std::size_t{0};
      at = static_cast<std::size_t>(zero - head_.begin()) + 1;
    }
    if ((flags & 2U) != 0) at += 2;
    return at <= head_.size() ? at : std::size_t{0};
  }

  std::vector<std::byte> head_;
  z_stream stream_{};
  bool started_ = false;
  bool ended_ = false;
};

class Bzip2Decoder final : public PieceDecoder {
 public:
  ~Bzip2Decoder() override {
    if (started_) BZ2_bzDecompressEnd(&stream_);
  }

  Result<void> decode(std::span<std::byte> piece, std::vector<std::byte>& out) override {
    if (ended_) return damaged("bytes behind bzip2");
    if (!started_ && BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) {
      return damaged("bzip2 does not start");
    }
    started_ = true;
    stream_.next_in = reinterpret_cast<char*>(piece.data());
    stream_.avail_in = static_cast<unsigned>(piece.size());
    do {
      auto into = room(out, stream_.avail_out);
      if (!into) return std::move(into.error());
      stream_.next_out = reinterpret_cast<char*>(into->data());
      stream_.avail_out = static_cast<unsigned>(into->size());
      const int status = BZ2_bzDecompress(&stream_);
      ended_ = status == BZ_STREAM_END;
      if (!ended_ && status != BZ_OK) return damaged("bzip2");
    } while (!ended_ && (stream_.avail_in > 0 || stream_.avail_out == 0));
    out.resize(out.size() - stream_.avail_out);
    stream_.avail_out = 0;
    return {};
  }

 private:
  bz_stream stream_{};
  bool started_ = false;
  bool ended_ = false;
};

class XzDecoder final : public PieceDecoder {
 public:
  ~XzDecoder() override { lzma_end(&stream_); }

  Result<void> decode(std::span<std::byte> piece, std::vector<std::byte>& out) override {
    if (ended_) return damaged("bytes behind xz");
    if (!started_ && lzma_auto_decoder(&stream_, UINT64_MAX, 0) != LZMA_OK) {
      return damaged("liblzma does not start");
    }
    started_ = true;
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(piece.data());
    stream_.avail_in = piece.size();
    do {
      auto into = room(out, stream_.avail_out);
      if (!into) return std::move(into.error());
      stream_.next_out = reinterpret_cast<std::uint8_t*>(into->data());
      stream_.avail_out = into->size();
      const lzma_ret status = lzma_code(&stream_, LZMA_RUN);
      ended_ = status == LZMA_STREAM_END;
      if (status == LZMA_BUF_ERROR) break;  // wants more input
      if (!ended_ && status != LZMA_OK) return damaged("xz");
    } while (!ended_ && (stream_.avail_in > 0 || stream_.avail_out == 0));
    out.resize(out.size() - stream_.avail_out);
    stream_.avail_out = 0;
    return {};
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool started_ = false;
  bool ended_ = false;
};

class ReferenceStream final : public ByteStream {
 public:
  ReferenceStream(std::unique_ptr<ByteStream> stream, std::unique_ptr<PieceDecoder> decoder)
      : stream_(std::move(stream)), decoder_(std::move(decoder)) {}

  Result<std::size_t> read(std::span<std::byte> into) override {
    while (given_ == output_.size()) {
      if (error_) return *error_;
      if (ended_) return std::size_t{0};
      if (auto more = decode_piece(); !more) {
        error_ = std::move(more.error());
        return *error_;
      }
    }
    const std::size_t count = std::min(into.size(), output_.size() - given_);
    std::memcpy(into.data(), output_.data() + given_, count);
    given_ += count;
    return count;
  }

 private:
  Result<void> decode_piece() {
    output_.clear();
    given_ = 0;
    piece_.resize(next_piece_);
    std::size_t filled = 0;
    while (filled < piece_.size()) {
      auto got = stream_->read(std::span(piece_).subspan(filled));
      if (!got) return std::move(got.error());
      if (*got == 0) break;
      filled += *got;
    }
    next_piece_ = kPiece;
    ended_ = filled == 0;
    if (ended_) return {};
    auto decoded = decoder_->decode(std::span(piece_).first(filled), output_);
    if (!decoded) output_.clear();
    return decoded;
  }

  std::unique_ptr<ByteStream> stream_;
  std::unique_ptr<PieceDecoder> decoder_;
  std::vector<std::byte> piece_;
  std::vector<std::byte> output_;
  std::size_t next_piece_ = kFirstPiece;
  std::size_t given_ = 0;
  bool ended_ = false;
  std::optional<Error> error_;
};

}  // namespace

Result<std::unique_ptr<ByteStream>> reference_stream(std::unique_ptr<ByteStream> stream) {
  auto head = look_ahead(stream, kFirstPiece);
  if (!head) return std::move(head.error());
  const std::string_view text(reinterpret_cast<const char*>(head->data()), head->size());
  using namespace std::string_view_literals;
  std::unique_ptr<PieceDecoder> decoder;
  if (text.starts_with("\x1f\x8b\x08"sv)) {
    decoder = std::make_unique<GzipDecoder>();
  } else if (text.starts_with("BZh"sv) && text.size() >= 10 && text.substr(4, 6) == "1AY&SY"sv) {
    decoder = std::make_unique<Bzip2Decoder>();
  } else if (text.starts_with("\x5d\0\0\x80"sv) || text.starts_with("\xfd"
                                                                    "7zXZ"sv)) {
    decoder = std::make_unique<XzDecoder>();
  } else if (text.starts_with("\x28\xb5\x2f\xfd"sv)) {
    return Error{ErrorCode::kCorruptArchive,
                 "zstd, which the reference implementation does not read; strict does",
                 {},
                 {},
                 std::uint64_t{0}};
  } else {
    return stream;
  }
  return std::unique_ptr<ByteStream>(
      std::make_unique<ReferenceStream>(std::move(stream), std::move(decoder)));
}

}  // namespace shardreel
