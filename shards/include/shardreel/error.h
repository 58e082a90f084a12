#pragma once
// What can go wrong, as a value: a code to count by, a sentence to act on, and the place in the
// data.

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace shardreel {

/// Name the kind of a failure. `to_string` gives the word that metrics count under
/// ("skipped_by_reason").
enum class ErrorCode {
  kInvalidOption,     ///< an option has a wrong name, type or value
  kNotFound,          ///< a shard or file is not there
  kIo,                ///< the operating system failed a read or write
  kPipeFailed,        ///< a `pipe:` command ended with a status other than 0
  kNotPermitted,      ///< the options forbid it (`allow_pipe`)
  kTruncated,         ///< an archive or stream ends before it should
  kCorruptArchive,    ///< bytes that no writer of the format makes
  kDuplicateField,    ///< two members of one sample have the same field name
  kDuplicateKey,      ///< two samples of a dataset have the same key
  kTooLarge,          ///< a member claims more than `max_member_bytes`
  kMemory,            ///< more bytes than the whole share that would have to hold them
  kNoVideo,           ///< a sample without any of `video_fields`
  kNotMedia,          ///< bytes that no allowed demuxer recognises
  kNoVideoStream,     ///< media without a video stream (audio only, cover art)
  kEncrypted,         ///< an encrypted track
  kUnsupported,       ///< a codec or pixel format that this build cannot take
  kDecodeError,       ///< the decoder reported an error or flagged a wanted frame as corrupt
  kIncompleteWindow,  ///< a window whose frames did not all come out of the decoder
  kTooShort,          ///< a video with fewer frames than one window, under `short_policy` drop
  kLongFrame,         ///< with `fps`, a frame that stays shown for longer than frames are repeated
  kSkipRatio,         ///< more samples failed than `max_skip_ratio` allows
  kEmptyEpoch,        ///< an epoch that delivered nothing
  kStopped,           ///< asked to stop
  kInternal,          ///< a broken promise of our own
};

/// Return the code's word in snake_case, e.g. "truncated".
[[nodiscard]] std::string_view to_string(ErrorCode code) noexcept;

/// One failure: what was being done, with what, and what was expected, plus the place it concerns.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;                  ///< without the place; `describe` adds it
  std::string shard;                    ///< the shard's URL; empty when none is concerned
  std::string key;                      ///< the sample's key; empty when none is concerned
  std::optional<std::uint64_t> offset;  ///< byte offset in the (decompressed) shard

  /// Return one line: "shard S, key K at byte N: message".
  [[nodiscard]] std::string describe() const;

  /// Fill in the place where it is still empty; the innermost knowledge wins.
  Error& at(std::string_view in_shard, std::string_view in_key = {},
            std::optional<std::uint64_t> in_offset = {});
};

/// The thrown form, used at the outermost edge only (`Loader::open`, `Loader::next`).
class ShardreelError : public std::runtime_error {
 public:
  explicit ShardreelError(Error error);
  [[nodiscard]] const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

/// A value or an `Error`, with the names of C++23's std::expected.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  T& operator*() & { return *std::get_if<0>(&state_); }
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  T&& operator*() && { return std::move(*std::get_if<0>(&state_)); }
  T* operator->() { return std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }

  /// Return the value, or throw the error as `ShardreelError`.
  T& value() & {
    if (!has_value()) throw ShardreelError(error());
    return **this;
  }
  // By value: a reference into a temporary would dangle in `for (auto& x : f().value())`.
  T value() && {
    if (!has_value()) throw ShardreelError(std::move(error()));
    return std::move(**this);
  }

  Error& error() { return *std::get_if<1>(&state_); }
  const Error& error() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

  [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  void value() const {
    if (error_) throw ShardreelError(*error_);
  }
  Error& error() { return *error_; }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace shardreel
