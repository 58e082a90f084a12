#include "loader/media/av_error.h"

#include <fmt/format.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>

extern "C" {
#include <libavutil/error.h>
#include <libavutil/log.h>
}

namespace shardreel {
namespace {

// The log callback gets no context of ours, so the listener is found by thread.
thread_local AvMessage* listener = nullptr;

void log_callback(void* object, int level, const char* format, va_list arguments) noexcept {
  if (listener == nullptr || level > AV_LOG_ERROR) return;
  listener->take(object, format, arguments);
}

}  // namespace

Error av_failure(ErrorCode code, std::string_view doing, int number) {
  std::array<char, AV_ERROR_MAX_STRING_SIZE> text{};
  av_strerror(number, text.data(), text.size());
  Error error;
  error.code = number == AVERROR(ENOMEM) ? ErrorCode::kMemory : code;
  error.message = fmt::format("{}: {} ({})", doing, text.data(), number);
  return error;
}

std::optional<RefusedPicture> refused_size(std::string_view message) {
  const std::string words(message);
  if (words.find(" exceeds ") == std::string::npos) return std::nullopt;
  RefusedPicture size;
  // FFmpeg's own check, and dav1d's.
  for (const char* form : {"Picture size %ux%u", "Frame size %ux%u"}) {
    if (std::sscanf(words.c_str(), form, &size.width, &size.height) == 2) return size;
  }
  return std::nullopt;
}

void silence_av_log() {
  static std::once_flag once;
  std::call_once(once, [] { av_log_set_callback(log_callback); });
}

AvMessage::AvMessage() noexcept : outer_(listener) { listener = this; }

AvMessage::~AvMessage() { listener = outer_; }

Error AvMessage::explain(Error error) const {
  if (size_ > 0) error.message += fmt::format("; FFmpeg says: {}", text());
  return error;
}

void AvMessage::take(void*, const char* format, __builtin_va_list arguments) noexcept {
  if (complete_) return;
  // Not av_log_format_line: its prefix carries the object's address, and messages must be the same
  // every run.
  const std::size_t room = text_.size() - size_;
  const int written = std::vsnprintf(text_.data() + size_, room, format, arguments);
  if (written <= 0) return;
  size_ += std::min(static_cast<std::size_t>(written), room - 1);
  // One line may come in several calls: what failed, then why.
  complete_ = text_[size_ - 1] == '\n' || size_ == text_.size() - 1;
  while (complete_ && size_ > 0 && (text_[size_ - 1] == '\n' || text_[size_ - 1] == ' ')) --size_;
}

}  // namespace shardreel
