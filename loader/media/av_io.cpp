#include "loader/media/av_io.h"

#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <utility>

extern "C" {
#include <libavformat/avio.h>
#include <libavutil/error.h>
#include <libavutil/mem.h>
}

namespace shardreel {
namespace {

// Large enough that a read from a file costs little, small enough to sit in the second-level cache.
constexpr int kBufferBytes = 64 * 1024;

}  // namespace

struct AvIo::State {
  std::shared_ptr<const RandomAccess> source;
  std::uint64_t position = 0;
  std::optional<Error> error;
  AVIOContext* context = nullptr;

  ~State() {
    if (context == nullptr) return;
    av_freep(&context->buffer);  // FFmpeg may have replaced the buffer: free the one it has now
    avio_context_free(&context);
  }

  static int read(void* opaque, std::uint8_t* data, int size) noexcept {
    auto& state = *static_cast<State*>(opaque);
    if (state.error) return AVERROR(EIO);
    if (size <= 0) return AVERROR(EINVAL);
    try {
      auto got = state.source->read_at(
          state.position, {reinterpret_cast<std::byte*>(data), static_cast<std::size_t>(size)});
      if (!got) {
        state.error = std::move(got.error());
        return AVERROR(EIO);
      }
      if (*got == 0) return AVERROR_EOF;
      state.position += *got;
      return static_cast<int>(*got);
    } catch (const std::exception&) {
      return AVERROR(ENOMEM);  // only an allocation can throw here
    }
  }

  static std::int64_t seek(void* opaque, std::int64_t offset, int whence) noexcept {
    auto& state = *static_cast<State*>(opaque);
    const std::uint64_t size = state.source->size();
    if (size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return AVERROR(EINVAL);
    const auto end = static_cast<std::int64_t>(size);
    std::int64_t base = 0;
    switch (whence & ~AVSEEK_FORCE) {
      case AVSEEK_SIZE: return end;
      case SEEK_SET: break;
      case SEEK_CUR: base = static_cast<std::int64_t>(state.position); break;
      case SEEK_END: base = end; break;
      default: return AVERROR(EINVAL);
    }
    std::int64_t target = 0;
    if (__builtin_add_overflow(base, offset, &target) || target < 0) return AVERROR(EINVAL);
    state.position = static_cast<std::uint64_t>(target);  // behind the end is allowed: reads say so
    return target;
  }
};

AvIo::AvIo(std::unique_ptr<State> state) : state_(std::move(state)) {}
AvIo::AvIo(AvIo&&) noexcept = default;
AvIo& AvIo::operator=(AvIo&&) noexcept = default;
AvIo::~AvIo() = default;

Result<AvIo> AvIo::make(std::shared_ptr<const RandomAccess> source) {
  auto state = std::make_unique<State>();
  state->source = std::move(source);
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (buffer != nullptr)
    state->context = avio_alloc_context(buffer, kBufferBytes, 0, state.get(), &State::read, nullptr,
                                        &State::seek);
  if (state->context == nullptr) {
    av_free(buffer);
    return Error{.code = ErrorCode::kMemory, .message = "open a video: no memory to read it"};
  }
  return AvIo(std::move(state));
}

AVIOContext* AvIo::context() const noexcept { return state_->context; }
const std::optional<Error>& AvIo::error() const noexcept { return state_->error; }

}  // namespace shardreel
