#pragma once
// An HTTP/1.1 answer out of the bytes of a connection: pure. Strict, for a server may be hostile:
// what is not plainly right ends the exchange and the connection.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "loader/read/http/http_client.h"
#include "shardreel/error.h"

namespace shardreel {

/// Where an answer's bytes come from. Never waits.
class HttpWire {
 public:
  enum class State { kBytes, kNothing, kClosed, kBroken };  ///< kNothing: not now
  struct Got {
    State state = State::kNothing;
    std::size_t bytes = 0;  ///< with kBytes: at least one
  };
  virtual ~HttpWire() = default;
  virtual Got receive(std::span<std::byte> into) = 0;
  /// With kBroken: what happened, for people.
  [[nodiscard]] virtual std::string complaint() const = 0;
};

/// How a body ends.
struct HttpFraming {
  enum class Kind { kNone, kLength, kChunked, kUntilClose };
  Kind kind = Kind::kNone;
  std::uint64_t length = 0;
  bool keeps = false;  ///< the connection may be used again
};

/// "HTTP/1.1 206 Partial Content", the header lines and the empty line behind them.
struct HttpHeadText {
  HttpHead head;
  int minor = 1;  ///< of the version
};
Result<HttpHeadText> parse_http_head(std::string_view text);
Result<HttpFraming> framing_of(const HttpHeadText& answer);

/// Reads one answer. Holds at most 68 KiB, of which the head may have 64.
class HttpAnswerReader final : public HttpBody {
 public:
  /// The wire outlives the reader.
  explicit HttpAnswerReader(HttpWire& wire) : wire_(wire) {}

  enum class State { kHead, kBody, kEnded, kFailed };
  /// Read the head as far as it has come; the state then is kHead when some of it is missing.
  State read_head();
  std::size_t read(std::span<std::byte> into) override;

  [[nodiscard]] State state() const noexcept { return state_; }
  [[nodiscard]] const HttpHead& head() const noexcept { return answer_.head; }
  /// How much of the body, or of a piece of it, is still to come; 0 where that is not known.
  [[nodiscard]] std::uint64_t left() const noexcept { return left_; }
  /// How much of the body was read.
  [[nodiscard]] std::uint64_t taken() const noexcept { return taken_; }
  /// With kFailed, for people.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  /// Whether anything of an answer came: if not, the connection may have been over before.
  [[nodiscard]] bool begun() const noexcept { return begun_; }
  /// With kEnded: whether another request may follow on the connection.
  [[nodiscard]] bool reusable() const noexcept { return framing_.keeps && buffered() == 0; }

 private:
  enum class Chunk { kSize, kData, kBreak, kTrailer };
  [[nodiscard]] std::size_t buffered() const noexcept { return buffer_.size() - used_; }
  bool fill_buffer();
  std::size_t take(std::span<std::byte> into);
  std::size_t read_chunks(std::span<std::byte> into);
  std::optional<std::string_view> line();
  bool begin_chunk(std::string_view line);
  void stop(HttpWire::State why);
  void fail(std::string why);

  HttpWire& wire_;
  State state_ = State::kHead;
  HttpHeadText answer_;
  HttpFraming framing_;
  std::uint64_t left_ = 0;  // of the body or the chunk
  std::uint64_t taken_ = 0;
  Chunk chunk_ = Chunk::kSize;
  std::size_t trailer_bytes_ = 0;
  int provisional_ = 0;
  std::string buffer_;    // what was read and is not part of a body that was taken yet
  std::size_t used_ = 0;  // of the buffer
  bool begun_ = false;
  std::string failure_;
};

}  // namespace shardreel
