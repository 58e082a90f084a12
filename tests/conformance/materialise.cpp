#include "tests/conformance/materialise.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace shardreel::testing {
namespace {

using nlohmann::json;

constexpr std::size_t kBlock = 512;

std::string from_hex(const std::string& text) {
  std::string digits, out;
  std::copy_if(text.begin(), text.end(), std::back_inserter(digits),
               [](char c) { return c != ' '; });
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    out += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  }
  return out;
}

std::string from_base64(const std::string& text) {
  const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    const auto value = alphabet.find(c);
    if (value == std::string::npos) continue;  // padding
    bits = (bits << 6) | static_cast<std::uint32_t>(value);
    held += 6;
    if (held < 8) continue;
    held -= 8;
    out += static_cast<char>((bits >> held) & 0xFF);
  }
  return out;
}

std::string padded(std::string bytes) {
  bytes.resize((bytes.size() + kBlock - 1) / kBlock * kBlock, '\0');
  return bytes;
}

std::string bytes_or(const json& from, const char* key, const std::string& otherwise) {
  return from.contains(key) ? materialise(from.at(key)) : otherwise;
}

std::string header(const json& member, const std::string& name, std::size_t content_bytes) {
  std::string block(kBlock, '\0');
  const auto put = [&block](std::size_t at, const std::string& bytes, std::size_t most) {
    const std::size_t count = std::min(bytes.size(), most);
    block.replace(at, count, bytes, 0, count);
  };
  put(0, name, 100);
  put(100, "0000644", 8);
  put(108, "0000000", 8);
  put(116, "0000000", 8);
  const json size = member.value("size", json(content_bytes));
  put(124, size.is_number() ? fmt::format("{:011o}", size.get<std::uint64_t>()) : materialise(size),
      12);
  put(136, "00000000000", 12);
  put(148, "        ", 8);
  put(156, bytes_or(member, "type", "0"), 1);
  put(157, bytes_or(member, "linkname", ""), 100);
  const std::string format = member.value("format", "ustar");
  if (format == "ustar") put(257, std::string("ustar\00000", 8), 8);
  if (format == "gnu") put(257, std::string("ustar  \0", 8), 8);
  put(345, bytes_or(member, "prefix", ""), 155);
  for (const auto& patch : member.value("patches", json::array())) {
    put(patch.at(0).get<std::size_t>(), materialise(patch.at(1)), kBlock);
  }
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  put(148, bytes_or(member, "checksum", fmt::format("{:06o}", sum) + std::string("\0 ", 2)), 8);
  return block;
}

std::string write_member(const json& member) {
  const std::string content = bytes_or(member, "content", "");
  const std::string block = header(member, materialise(member.at("member")), content.size());
  return block + (member.value("pad", true) ? padded(content) : content);
}

/// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
std::string pax_record(const std::string& key, const std::string& value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (rest + std::to_string(length).size() != length) {
    length = rest + std::to_string(length).size();
  }
  return fmt::format("{} {}={}\n", length, key, value);
}

std::string write_pax(const json& pax) {
  std::string records;
  for (const auto& record : pax.at("pax")) {
    records += record.is_array() ? pax_record(materialise(record.at(0)), materialise(record.at(1)))
                                 : materialise(record);
  }
  json member = pax;
  member["member"] = "PaxHeader";
  member["type"] = pax.value("type", "x");
  return header(member, "PaxHeader", records.size()) + padded(records);
}

}  // namespace

std::string materialise(const json& expression) {
  if (expression.is_string()) return expression.get<std::string>();
  if (expression.is_array()) {
    std::string joined;
    for (const auto& part : expression) joined += materialise(part);
    return joined;
  }
  const auto has = [&](const char* key) { return expression.contains(key); };
  const auto number = [&](const char* key) { return expression.at(key).get<std::size_t>(); };
  if (has("hex")) return from_hex(expression.at("hex"));
  if (has("base64")) return from_base64(expression.at("base64"));
  if (has("zeros")) return std::string(number("zeros"), '\0');
  if (has("end")) return std::string(number("end") * kBlock, '\0');
  if (has("member")) return write_member(expression);
  if (has("pax")) return write_pax(expression);
  if (has("repeat")) {
    const std::string once = materialise(expression.at("repeat"));
    std::string all;
    for (std::size_t i = 0; i < number("times"); ++i) all += once;
    return all;
  }
  if (has("cut")) return materialise(expression.at("cut")).substr(0, number("at"));
  if (has("flip")) {
    std::string bytes = materialise(expression.at("flip"));
    char& byte = bytes.at(number("byte"));
    byte = static_cast<char>(byte ^ (1 << expression.value("bit", 0)));
    return bytes;
  }
  throw std::runtime_error("no byte expression: " + expression.dump());
}

std::vector<json> load_vectors(const std::string& kind) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(SHARDREEL_VECTORS)) {
    files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<json> all;
  for (const auto& path : files) {
    std::ifstream file(path);
    const json content = json::parse(file);
    for (json vector : content.value(kind, json::array())) {
      vector["file"] = path.filename().string();
      all.push_back(std::move(vector));
    }
  }
  return all;
}

}  // namespace shardreel::testing
