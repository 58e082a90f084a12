#pragma once
// FFmpeg's error numbers as our errors, and FFmpeg's log kept from the terminal.

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "shardreel/error.h"

namespace shardreel {

/// Turn FFmpeg's error `number` into an Error: "`doing`: text (number)". Out of memory becomes
/// kMemory whatever `code` says.
Error av_failure(ErrorCode code, std::string_view doing, int number);

/// The size of a picture that FFmpeg refused, by its own word, as larger than `max_pixels`.
struct RefusedPicture {
  unsigned width = 0, height = 0;
};
[[nodiscard]] std::optional<RefusedPicture> refused_size(std::string_view message);

/// Send FFmpeg's log to `AvMessage` only: the library never prints. Process-wide, set once; cheap
/// to call.
void silence_av_log();

/// Keeps the first error that FFmpeg logs on this thread while it lives ("moov atom not found"):
/// error numbers alone often say only "Invalid data". Scopes nest; the innermost listens.
class AvMessage {
 public:
  AvMessage() noexcept;
  AvMessage(const AvMessage&) = delete;
  AvMessage& operator=(const AvMessage&) = delete;
  ~AvMessage();

  /// Return the message without its newline; empty when nothing was logged.
  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), size_}; }
  /// Append the message to an error's, where there is one.
  [[nodiscard]] Error explain(Error error) const;

  /// For the log callback.
  void take(void* object, const char* format, __builtin_va_list arguments) noexcept;

 private:
  AvMessage* outer_;
  std::array<char, 256> text_{};
  std::size_t size_ = 0;
  bool complete_ = false;
};

}  // namespace shardreel
