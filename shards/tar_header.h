#pragma once
// The headers of a tar member, byte for byte the same on every machine and in every locale (which
// is why they are not written by libarchive: it converts names by locale).

#include <cstdint>
#include <string>
#include <string_view>

namespace shardreel {

constexpr std::uint64_t kTarBlockBytes = 512;
constexpr std::uint64_t kTarRecordBytes = 10240;  ///< an archive's length is a multiple of it

/// Append the header blocks of a regular file (mode 0444, owner 0, mtime 0): one ustar header, with
/// a PAX header before it where name or size do not fit ustar.
void append_tar_headers(std::string_view name, std::uint64_t size, std::string& out);

}  // namespace shardreel
