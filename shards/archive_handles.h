#pragma once
// The libarchive handles as owners, and the rule for names.
//
// Note [Names are bytes]: libarchive converts names of PAX headers from UTF-8 to the charset of the
// thread's locale, normalising them on the way, and takes the raw bytes only where that fails. So
// every call that reads headers runs under the "C" locale (`PlainLocale`), where each name outside
// ASCII fails to convert and arrives unchanged, with a warning that we ignore.

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <memory>

namespace shardreel {

struct ArchiveReadFree {
  void operator()(archive* handle) const noexcept { archive_read_free(handle); }
};
using ArchiveReadHandle = std::unique_ptr<archive, ArchiveReadFree>;

/// Put the calling thread under the "C" locale for the lifetime of this object.
class PlainLocale {
 public:
  PlainLocale() noexcept : before_(uselocale(plain())) {}
  PlainLocale(const PlainLocale&) = delete;
  PlainLocale& operator=(const PlainLocale&) = delete;
  ~PlainLocale() { uselocale(before_); }

 private:
  // uselocale(nullptr) changes nothing, so a failed newlocale is harmless.
  static locale_t plain() noexcept {
    static const locale_t locale = newlocale(LC_ALL_MASK, "C", nullptr);
    return locale;
  }
  locale_t before_;
};

}  // namespace shardreel
