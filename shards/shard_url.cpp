#include "shardreel/shard_url.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <variant>

#include "shardreel/byte_source.h"
#include "shardreel/units.h"
#include "shards/brace_pattern.h"

namespace shardreel {
namespace {

constexpr int kVariableRounds = 10;  // as many as the reference implementation does

/// The lines of a list file: one block of text and where each line begins.
struct Lines {
  std::string text;
  std::vector<std::pair<std::size_t, std::size_t>> ranges;  ///< offset, length
};

Error invalid(std::string message) {
  return Error{ErrorCode::kInvalidOption, std::move(message), {}, {}, {}};
}

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

/// Replace every `${NAME}` once; `changed` says whether there was one.
Result<std::string> replace_variables(std::string_view text, bool& changed) {
  std::string out;
  changed = false;
  while (true) {
    const std::size_t dollar = text.find("${");
    out += text.substr(0, dollar);
    if (dollar == std::string_view::npos) return out;
    text.remove_prefix(dollar);
    std::size_t end = 2;
    while (end < text.size() && is_word(text[end])) ++end;
    if (end == 2 || end == text.size() || text[end] != '}') {
      out += text.substr(0, 2);
      text.remove_prefix(2);
      continue;
    }
    const std::string name = "WDS_" + std::string(text.substr(2, end - 2));
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) {
      return invalid(fmt::format("the shard URL uses {}, but the environment has no {}",
                                 text.substr(0, end + 1), name));
    }
    out += value;
    changed = true;
    text.remove_prefix(end + 1);
  }
}

Result<std::string> expand_variables(std::string text) {
  for (int round = 0; round < kVariableRounds; ++round) {
    bool changed = false;
    auto replaced = replace_variables(text, changed);
    if (!replaced || !changed) return replaced;
    text = std::move(*replaced);
  }
  bool changed = false;
  auto replaced = replace_variables(text, changed);
  if (replaced && changed) {
    return invalid(fmt::format("variables in shard URLs are nested more than {} deep (now '{}')",
                               kVariableRounds, text));
  }
  return replaced;
}

Result<Lines> read_list(const std::string& path) {
  auto stream = open_file(path);
  if (!stream) {
    stream.error().message = fmt::format("reading the list of shards: {}", stream.error().message);
    return std::move(stream.error());
  }
  Lines lines;
  std::size_t filled = 0;
  while (true) {
    if (lines.text.size() - filled < 65536) lines.text.resize(filled * 2 + 65536);
    auto got = (*stream)->read(std::as_writable_bytes(std::span(lines.text).subspan(filled)));
    if (!got) return std::move(got.error());
    if (*got == 0) break;
    filled += *got;
  }
  lines.text.resize(filled);
  lines.text.shrink_to_fit();
  for (std::size_t start = 0; start < filled;) {
    const std::size_t end = std::min(lines.text.find('\n', start), filled);
    std::size_t length = end - start;
    if (length > 0 && lines.text[end - 1] == '\r') --length;
    if (length > 0 && lines.text[start] != '#') lines.ranges.emplace_back(start, length);
    start = end + 1;
  }
  return lines;
}

}  // namespace

struct ShardList::State {
  struct Part {
    std::uint64_t begin;  ///< index of its first URL in the list
    std::variant<BracePattern, Lines> urls;
  };
  std::vector<Part> parts;
  std::uint64_t size = 0;

  Result<void> add(std::variant<BracePattern, Lines> urls, std::uint64_t count) {
    const auto grown = checked_add(size, count);
    if (!grown) return invalid("the shard URLs stand for more than 2^64 - 1 shards");
    if (count > 0) parts.push_back({size, std::move(urls)});
    size = *grown;
    return {};
  }

  Result<void> add_joined(std::string_view spec) {
    while (true) {
      const std::size_t joint = spec.find("::");
      auto text = expand_variables(std::string(spec.substr(0, joint)));
      if (!text) return std::move(text.error());
      if (text->empty()) return invalid("a shard URL is empty");
      auto pattern = BracePattern::parse(*text);
      if (!pattern) return std::move(pattern.error());
      const std::uint64_t count = pattern->size();
      if (auto added = add(std::move(*pattern), count); !added) return added;
      if (joint == std::string_view::npos) return {};
      spec.remove_prefix(joint + 2);
    }
  }
};

std::optional<std::string> local_shard_path(std::string_view url) {
  if (url.empty() || url == "-" || url.starts_with("pipe:")) return std::nullopt;
  if (url.starts_with("file:")) {
    url.remove_prefix(5);
    if (url.starts_with("//localhost/")) url.remove_prefix(11);
    if (url.starts_with("///")) url.remove_prefix(2);
  } else if (url.find("://") != std::string_view::npos) {
    return std::nullopt;
  }
  return std::string(url);
}

Result<ShardList> ShardList::parse(const std::vector<std::string>& specs) {
  auto state = std::make_shared<State>();
  for (const std::string& spec : specs) {
    Result<void> added;
    if (spec.starts_with('@')) {
      auto lines = read_list(spec.substr(1));
      if (!lines) return std::move(lines.error());
      const std::uint64_t count = lines->ranges.size();
      added = state->add(std::move(*lines), count);
    } else {
      added = state->add_joined(spec);
    }
    if (!added) return std::move(added.error());
  }
  ShardList list;
  list.state_ = std::move(state);
  return list;
}

std::uint64_t ShardList::size() const noexcept { return state_ ? state_->size : 0; }

std::string ShardList::at(std::uint64_t index) const {
  const auto behind = std::upper_bound(
      state_->parts.begin(), state_->parts.end(), index,
      [](std::uint64_t value, const State::Part& part) { return value < part.begin; });
  const State::Part& part = *std::prev(behind);
  index -= part.begin;
  std::string url;
  if (const auto* pattern = std::get_if<BracePattern>(&part.urls)) {
    pattern->append(index, url);
  } else if (const auto* lines = std::get_if<Lines>(&part.urls)) {
    const auto [offset, length] = lines->ranges[static_cast<std::size_t>(index)];
    url = lines->text.substr(offset, length);
  }
  return url;
}

}  // namespace shardreel
