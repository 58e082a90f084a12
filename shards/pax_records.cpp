#include "shards/pax_records.h"

#include "shards/python_number.h"

namespace shardreel {

void set_record(PaxRecords& records, std::string_view key, std::string_view value) {
  for (auto& [known, old] : records) {
    if (known == key) {
      old = value;
      return;
    }
  }
  records.emplace_back(key, value);
}

const std::string* find_record(const PaxRecords& records, std::string_view key) {
  for (const auto& [known, value] : records) {
    if (known == key) return &value;
  }
  return nullptr;
}

bool parse_pax_records(std::string_view text, PaxRecords& out) {
  while (!text.empty() && text.front() != '\0') {
    std::size_t digits = 0;
    while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
    if (digits == 0 || digits > 20 || digits == text.size() || text[digits] != ' ') return false;
    const auto length = python_int(text.substr(0, digits), 10);
    if (!length || *length < 5 || *length > static_cast<std::int64_t>(text.size())) return false;
    const auto end = static_cast<std::size_t>(*length);
    if (end < digits + 2) return false;
    const std::string_view record = text.substr(digits + 1, end - digits - 2);
    const std::size_t equals = record.find('=');
    if (equals == 0 || equals == std::string_view::npos || text[end - 1] != '\n') return false;
    out.emplace_back(record.substr(0, equals), record.substr(equals + 1));
    text.remove_prefix(end);
  }
  return true;
}

}  // namespace shardreel
