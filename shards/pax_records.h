#pragma once
// The records of a PAX extension header as the reference implementation reads them (compat only).

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace shardreel {

using PaxRecords = std::vector<std::pair<std::string, std::string>>;  ///< key and value, raw bytes

/// Append the records of a header's content: "LENGTH KEY=VALUE\n", where LENGTH counts the whole,
/// up to the end or a zero byte. False where the reference refuses the header.
bool parse_pax_records(std::string_view text, PaxRecords& out);

/// The value replaces one of the same key in its place, as in a Python dictionary.
void set_record(PaxRecords& records, std::string_view key, std::string_view value);

/// The value of a key, or null.
const std::string* find_record(const PaxRecords& records, std::string_view key);

}  // namespace shardreel
