#include "loader/pipeline/options_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <concepts>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>

#include "shardreel/units.h"

namespace shardreel {
namespace {

using Json = nlohmann::json;

/// An enumeration's words, in the order of its values.
using Words = std::vector<std::string>;

OptionRow row(std::string name, std::string values, std::string decides, std::string help,
              TextForm form, std::function<Json(const LoaderOptions&)> get,
              std::function<bool(LoaderOptions&, const Json&)> set) {
  OptionRow made;
  made.info = {std::move(name), std::move(values), {}, std::move(decides), std::move(help)};
  made.form = form;
  made.get = std::move(get);
  made.set = std::move(set);
  made.info.initial = made.get(LoaderOptions{}).dump();
  return made;
}

/// A row's words for people; the access to its member is given beside it.
struct About {
  std::string name, values, decides, help;
};

template <std::unsigned_integral Int>
bool take_whole(const Json& value, Int& into) {
  // A negative number is "integer" but not "unsigned" for the JSON library.
  if (!value.is_number_unsigned()) return false;
  const auto number = value.get<std::uint64_t>();
  if (number > std::numeric_limits<Int>::max()) return false;
  into = static_cast<Int>(number);
  return true;
}

/// A whole number. `access` returns a reference to the member.
template <typename Access>
OptionRow whole(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kNumber,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) { return take_whole(value, access(o)); });
}

/// A whole number whose member holds 0 for `zero_word` (null: the option is unset).
template <typename Access>
OptionRow whole_or(About about, std::optional<std::string> zero_word, Access access) {
  const Json zero = zero_word ? Json(*zero_word) : Json(nullptr);
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kNumber,
      [access, zero](const LoaderOptions& o) { return access(o) == 0 ? zero : Json(access(o)); },
      [access, zero](LoaderOptions& o, const Json& value) {
        if (value == zero) {
          access(o) = 0;
          return true;
        }
        auto number = access(o);
        if (!take_whole(value, number) || number == 0) return false;
        access(o) = number;
        return true;
      });
}

/// An optional member; null = unset.
template <typename Access, typename Take>
OptionRow maybe(About about, TextForm form, Access access, Take take) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), form,
      [access](const LoaderOptions& o) { return access(o) ? Json(*access(o)) : Json(nullptr); },
      [access, take](LoaderOptions& o, const Json& value) {
        if (value.is_null()) {
          access(o).reset();
          return true;
        }
        typename std::remove_reference_t<decltype(access(o))>::value_type taken{};
        if (!take(value, taken)) return false;
        access(o) = taken;
        return true;
      });
}

bool take_number(const Json& value, double& into) {
  if (!value.is_number()) return false;
  into = value.get<double>();
  return true;
}

bool take_bool(const Json& value, bool& into) {
  if (!value.is_boolean()) return false;
  into = value.get<bool>();
  return true;
}

template <typename Access>
OptionRow number(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kNumber,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) { return take_number(value, access(o)); });
}

template <typename Access>
OptionRow truth(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kBool,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) { return take_bool(value, access(o)); });
}

std::string lower_case(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

/// One of `words`, in any case; `values` is made of them.
template <typename Access>
OptionRow choice(About about, Words words, Access access) {
  about.values = fmt::format("{}", fmt::join(words, ", "));
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [access, words](const LoaderOptions& o) {
        return Json(words.at(static_cast<std::size_t>(access(o))));
      },
      [access, words](LoaderOptions& o, const Json& value) {
        if (!value.is_string()) return false;
        const std::string wanted = lower_case(value.get<std::string>());
        const auto found = std::find_if(words.begin(), words.end(), [&](const std::string& word) {
          return lower_case(word) == wanted;
        });
        if (found == words.end()) return false;
        access(o) =
            static_cast<std::remove_reference_t<decltype(access(o))>>(found - words.begin());
        return true;
      });
}

/// A list of texts; one text alone is a list of one.
template <typename Access>
OptionRow words(About about, TextForm form, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), form, [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) {
        const Json list = value.is_string() ? Json::array({value}) : value;
        if (!list.is_array() || !std::all_of(list.begin(), list.end(),
                                             [](const Json& item) { return item.is_string(); })) {
          return false;
        }
        access(o) = list.get<std::vector<std::string>>();
        return true;
      });
}

/// A list of numbers; one number alone is a list of one.
template <typename Access>
OptionRow numbers(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kNumbers,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) {
        const Json list = value.is_number() ? Json::array({value}) : value;
        if (!list.is_array() || !std::all_of(list.begin(), list.end(),
                                             [](const Json& item) { return item.is_number(); })) {
          return false;
        }
        access(o) = list.get<std::vector<double>>();
        return true;
      });
}

/// A folder's name; null = the member is empty.
template <typename Access>
OptionRow folder(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [access](const LoaderOptions& o) {
        return access(o).empty() ? Json(nullptr) : Json(access(o));
      },
      [access](LoaderOptions& o, const Json& value) {
        if (!value.is_null() && !value.is_string()) return false;
        access(o) = value.is_null() ? std::string() : value.get<std::string>();
        return true;
      });
}

/// A byte size kept as bytes.
template <typename Access>
OptionRow bytes(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [access](const LoaderOptions& o) { return Json(access(o)); },
      [access](LoaderOptions& o, const Json& value) {
        if (!value.is_string()) return take_whole(value, access(o));
        const Result<std::uint64_t> parsed = parse_bytes(value.get_ref<const std::string&>());
        if (parsed) access(o) = *parsed;
        return parsed.has_value();
      });
}

/// A byte size kept as text, because a part of a limit is known only when the loader opens;
/// `validate` judges the text. Null = the member is empty.
template <typename Access>
OptionRow bytes_text(About about, Access access) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [access](const LoaderOptions& o) {
        return access(o).empty() ? Json(nullptr) : Json(access(o));
      },
      [access](LoaderOptions& o, const Json& value) {
        std::uint64_t count = 0;
        if (value.is_null()) {
          access(o).clear();
        } else if (value.is_string()) {
          access(o) = value.get<std::string>();
        } else if (take_whole(value, count)) {
          access(o) = std::to_string(count);
        } else {
          return false;
        }
        return true;
      });
}

std::optional<double> parse_number(std::string_view text) {
  double number = 0;
  const char* last = text.data() + text.size();
  const auto [end, status] = std::from_chars(text.data(), last, number);
  if (status != std::errc{} || end != last) return std::nullopt;
  return number;
}

/// "0.75" or "3/4".
std::optional<double> parse_fraction(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return parse_number(text);
  const auto above = parse_number(text.substr(0, slash));
  const auto below = parse_number(text.substr(slash + 1));
  if (!above || !below || *below == 0) return std::nullopt;
  return *above / *below;
}

/// A pair "min-max" or [min, max], in two members.
template <typename Low, typename High>
OptionRow range(About about, Low low, High high) {
  return row(
      std::move(about.name), std::move(about.values), std::move(about.decides),
      std::move(about.help), TextForm::kWord,
      [low, high](const LoaderOptions& o) {
        return Json::array({low(o), high(o)});
      },
      [low, high](LoaderOptions& o, const Json& value) {
        std::optional<double> from, to;
        if (value.is_string()) {
          const std::string& text = value.get_ref<const std::string&>();
          const std::size_t dash = text.find('-');
          if (dash == std::string::npos) return false;
          from = parse_fraction(std::string_view(text).substr(0, dash));
          to = parse_fraction(std::string_view(text).substr(dash + 1));
        } else if (value.is_array() && value.size() == 2 && value[0].is_number() &&
                   value[1].is_number()) {
          from = value[0].get<double>();
          to = value[1].get<double>();
        }
        if (!from || !to) return false;
        low(o) = *from;
        high(o) = *to;
        return true;
      });
}

// Access to a member, for const and mutable options alike.
#define SHARDREEL_MEMBER(path) \
  [](auto& o) -> auto& { return o.path; }

void add_input_rows(std::vector<OptionRow>& rows) {
  rows.push_back(
      words({"urls", "patterns: braces, `::`, `@FILE`, paths, `-` (standard input), `pipe:COMMAND`",
             "O", "The shards to read."},
            TextForm::kAppendWord, SHARDREEL_MEMBER(input.urls)));
  rows.push_back(words({"video_fields", "list of field names", "O",
                        "Fields that may hold the video; the first one present is taken."},
                       TextForm::kWords, SHARDREEL_MEMBER(input.video_fields)));
  rows.push_back(choice({"integrity",
                         {},
                         "O",
                         "Report every loss in a shard as a failure, or accept what the reference "
                         "implementation accepts."},
                        {"strict", "compat"}, SHARDREEL_MEMBER(input.integrity)));
  rows.push_back(
      choice({"on_error", {}, "O", "A bad sample is skipped and counted, or ends the run."},
             {"skip", "fail"}, SHARDREEL_MEMBER(input.on_error)));
  rows.push_back(
      number({"max_skip_ratio", "0 to 1", "O",
              "With on_error = skip: end the run when a larger part of the samples failed "
              "(judged from 100 samples on and at the end of the epoch)."},
             SHARDREEL_MEMBER(input.max_skip_ratio)));
  rows.push_back(words({"filter",
                        "conditions: `key=GLOB`, `FIELD=TEXT`, `json.NAME=TEXT`, or `min_frames "
                        "max_frames min_seconds max_seconds min_width min_height` with `=NUMBER`",
                        "O", "Take only the samples that meet every condition."},
                       TextForm::kAppendWord, SHARDREEL_MEMBER(input.filter)));
}

void add_order_rows(std::vector<OptionRow>& rows) {
  rows.push_back(choice({"shuffle",
                         {},
                         "O",
                         "Shuffle shards and clips, shards only, or nothing (validation: the given "
                         "order, the last batch kept)."},
                        {"all", "shards", "none"}, SHARDREEL_MEMBER(batch.shuffle)));
  rows.push_back(
      whole({"open_shards", "1 or more", "O", "Shards that give one sample each in turn."},
            SHARDREEL_MEMBER(input.open_shards)));
  rows.push_back(whole({"open_videos", "1 or more", "O", "Videos that give one unit each in turn."},
                       SHARDREEL_MEMBER(input.open_videos)));
}

void add_window_rows(std::vector<OptionRow>& rows) {
  rows.push_back(whole({"num_frames", "1 or more", "O", "Frames of a clip."},
                       SHARDREEL_MEMBER(window.num_frames)));
  rows.push_back(
      whole({"frame_step", "1 or more", "O", "Frames from one frame of a clip to the next."},
            SHARDREEL_MEMBER(window.frame_step)));
  rows.push_back(
      whole_or({"window_stride", "1 or more; unset = num_frames × frame_step, with fps num_frames",
                "O", "Frames from one window's start to the next."},
               std::nullopt, SHARDREEL_MEMBER(window.window_stride)));
  rows.push_back(maybe({"fps", "above 0; unset = by frame", "O",
                        "Sample by time at this rate; num_frames and window_stride count output "
                        "frames then."},
                       TextForm::kNumber, SHARDREEL_MEMBER(window.fps), take_number));
  rows.push_back(
      whole_or({"windows_per_video", "`all`, or 1 or more", "O", "How many windows a video gives."},
               "all", SHARDREEL_MEMBER(window.windows_per_video)));
  rows.push_back(choice({"window_choice", {}, "O", "Which windows are taken when not all are."},
                        {"random", "uniform"}, SHARDREEL_MEMBER(window.window_choice)));
  rows.push_back(choice(
      {"short_policy", {}, "O", "What to do with a video that has too few frames for one window."},
      {"drop", "repeat_last", "loop"}, SHARDREEL_MEMBER(window.short_policy)));
  rows.push_back(whole({"unit_clips", "1 or more", "O",
                        "Clips that are decoded together at most, where keyframes allow."},
                       SHARDREEL_MEMBER(window.unit_clips)));
}

void add_transform_rows(std::vector<OptionRow>& rows) {
  rows.push_back(whole({"width", "1 to 16384", "P", "Width of the output, in pixels."},
                       SHARDREEL_MEMBER(transform.width)));
  rows.push_back(whole({"height", "1 to 16384", "P", "Height of the output, in pixels."},
                       SHARDREEL_MEMBER(transform.height)));
  rows.push_back(
      choice({"resize_mode",
              {},
              "P",
              "Cover the output and cut the rest off, stretch, or fit inside with borders."},
             {"short_side", "stretch", "fit"}, SHARDREEL_MEMBER(transform.resize_mode)));
  rows.push_back(choice({"crop", {}, "P", "Where the output is cut from."},
                        {"center", "random", "resized"}, SHARDREEL_MEMBER(transform.crop)));
  rows.push_back(range({"crop_scale", "MIN-MAX or [MIN, MAX], above 0 to 1", "P",
                        "Part of the area that crop = resized takes."},
                       SHARDREEL_MEMBER(transform.crop_scale_min),
                       SHARDREEL_MEMBER(transform.crop_scale_max)));
  rows.push_back(range({"crop_ratio", "MIN-MAX or [MIN, MAX], fractions as 3/4, above 0", "P",
                        "Width to height that crop = resized takes."},
                       SHARDREEL_MEMBER(transform.crop_ratio_min),
                       SHARDREEL_MEMBER(transform.crop_ratio_max)));
  rows.push_back(
      number({"flip", "0 to 1", "P", "Probability of a horizontal flip, drawn once a clip."},
             SHARDREEL_MEMBER(transform.flip)));
  rows.push_back(choice({"color", {}, "P", "Channels of the output."}, {"rgb", "gray", "yuv420"},
                        SHARDREEL_MEMBER(transform.color)));
  rows.push_back(choice({"dtype", {}, "P", "Type of an element of the batch."},
                        {"uint8", "float16", "float32"}, SHARDREEL_MEMBER(transform.dtype)));
  rows.push_back(numbers({"mean", "numbers: one, or one a channel; with a float dtype", "P",
                          "Subtracted after the division by 255; empty = 0."},
                         SHARDREEL_MEMBER(transform.mean)));
  rows.push_back(numbers({"std", "numbers other than 0: one, or one a channel; with a float dtype",
                          "P", "Divides after the mean is subtracted; empty = 1."},
                         SHARDREEL_MEMBER(transform.std)));
  rows.push_back(choice({"layout", {}, "P", "Order of a clip's axes."}, {"THWC", "TCHW", "CTHW"},
                        SHARDREEL_MEMBER(transform.layout)));
}

void add_batch_rows(std::vector<OptionRow>& rows) {
  rows.push_back(whole({"batch_size", "1 or more", "O", "Clips of a batch."},
                       SHARDREEL_MEMBER(batch.batch_size)));
  rows.push_back(maybe({"drop_last", "true, false; unset = true, but false with shuffle = none",
                        "O", "Leave out the last batch of an epoch when it is not full."},
                       TextForm::kBool, SHARDREEL_MEMBER(batch.drop_last), take_bool));
  rows.push_back(whole({"seed", "0 or more", "O", "Every random choice follows from it."},
                       SHARDREEL_MEMBER(batch.seed)));
  rows.push_back(
      whole({"epoch", "0 or more", "O", "The first epoch."}, SHARDREEL_MEMBER(batch.epoch)));
  rows.push_back(whole({"epochs", "0 or more; 0 = endless", "O", "How many epochs."},
                       SHARDREEL_MEMBER(batch.epochs)));
  rows.push_back(maybe(
      {"batches_per_epoch", "1 or more; unset = what the data gives", "O",
       "Batches of every rank in an epoch: clips are repeated or dropped to meet it."},
      TextForm::kNumber, SHARDREEL_MEMBER(batch.batches_per_epoch), take_whole<std::uint64_t>));
  rows.push_back(maybe({"rank", "below world_size; unset = from the environment", "O",
                        "Which share of the data this process takes."},
                       TextForm::kNumber, SHARDREEL_MEMBER(batch.rank), take_whole<std::uint32_t>));
  rows.push_back(maybe({"world_size", "1 or more; unset = from the environment", "O",
                        "How many processes share the data."},
                       TextForm::kNumber, SHARDREEL_MEMBER(batch.world_size),
                       take_whole<std::uint32_t>));
  rows.push_back(
      choice({"ranks",
              {},
              "O",
              "All ranks deliver equally many batches, or every clip comes exactly once."},
             {"equal", "exact"}, SHARDREEL_MEMBER(batch.ranks)));
}

void add_resource_rows(std::vector<OptionRow>& rows) {
  rows.push_back(bytes_text({"memory_bytes",
                             "size, e.g. 512MiB, 2GiB; or a part, e.g. 25%, of the cgroup's limit "
                             "divided by the local ranks",
                             "", "Host memory of the process for everything the loader holds."},
                            SHARDREEL_MEMBER(resource.memory_bytes)));
  rows.push_back(bytes_text({"shuffle_bytes", "size; unset = half of memory_bytes", "O",
                             "Memory of the shuffle buffer, all lanes together."},
                            SHARDREEL_MEMBER(resource.shuffle_bytes)));
  rows.push_back(whole(
      {"min_fill", "1 or more", "O", "Clips in the shuffle buffer before the first one leaves."},
      SHARDREEL_MEMBER(resource.min_fill)));
  rows.push_back(choice({"shuffle_domain",
                         {},
                         "O",
                         "What the shuffle holds: decoded clips; packets and auto come later."},
                        {"frames", "packets", "auto"}, SHARDREEL_MEMBER(resource.shuffle_domain)));
  rows.push_back(
      whole({"prefetch_batches", "1 or more", "", "Batches made ahead of the consumer, a lane."},
            SHARDREEL_MEMBER(batch.prefetch_batches)));
  rows.push_back(
      whole({"held_batches", "1 or more", "", "Batches the consumer keeps at a time, a lane."},
            SHARDREEL_MEMBER(batch.held_batches)));
  rows.push_back(whole({"reader_threads", "1 or more", "", "Threads that read shards."},
                       SHARDREEL_MEMBER(input.reader_threads)));
  rows.push_back(whole_or({"decode_threads", "1 or more; unset = the cores this process may use",
                           "", "Threads that decode, one decoder each."},
                          std::nullopt, SHARDREEL_MEMBER(resource.decode_threads)));
  rows.push_back(
      bytes({"member_inline_bytes", "size", "",
             "Members up to this size are read whole into memory; larger videos are read "
             "by ranges, or spooled."},
            SHARDREEL_MEMBER(input.member_inline_bytes)));
  rows.push_back(
      bytes({"max_member_bytes", "size", "O", "A member that claims more fails its sample."},
            SHARDREEL_MEMBER(input.max_member_bytes)));
  rows.push_back(folder({"spool_dir", "folder; unset = $TMPDIR, else /tmp", "",
                         "Where large members of streams are spooled, in unlinked files."},
                        SHARDREEL_MEMBER(input.spool_dir)));
  rows.push_back(
      truth({"allow_pipe", "true, false", "", "Whether `pipe:COMMAND` may run commands."},
            SHARDREEL_MEMBER(input.allow_pipe)));
  rows.push_back(words({"devices", "list of `cpu:N` (virtual host devices); or `auto` = cpu:0", "",
                        "Where batches land; one lane each."},
                       TextForm::kWords, SHARDREEL_MEMBER(resource.devices)));
  rows.push_back(choice({"decode", {}, "P", "Who decodes; cuda comes later."},
                        {"cpu", "cuda", "auto"}, SHARDREEL_MEMBER(resource.decode)));
}

#undef SHARDREEL_MEMBER

/// Edits that turn one word into the other: insert, delete, replace, swap of neighbours.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const std::size_t replace = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({replace, cost[i - 1][j] + 1, cost[i][j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

std::string flat_name(std::string_view name) {
  std::string flat(name);
  std::replace(flat.begin(), flat.end(), '-', '_');
  return flat;
}

std::optional<Json> number_from_text(std::string_view text) {
  const char* last = text.data() + text.size();
  std::uint64_t whole_number = 0;
  const auto [end, status] = std::from_chars(text.data(), last, whole_number);
  if (status == std::errc{} && end == last) return Json(whole_number);
  const auto real = parse_number(text);
  if (real) return Json(*real);
  return std::nullopt;
}

}  // namespace

const std::vector<OptionRow>& option_rows() {
  static const std::vector<OptionRow> kRows = [] {
    std::vector<OptionRow> rows;
    add_input_rows(rows);
    add_order_rows(rows);
    add_window_rows(rows);
    add_transform_rows(rows);
    add_batch_rows(rows);
    add_resource_rows(rows);
    return rows;
  }();
  return kRows;
}

const OptionRow* find_option(std::string_view name) {
  const std::string flat = flat_name(name);
  for (const OptionRow& candidate : option_rows()) {
    if (candidate.info.name == flat) return &candidate;
  }
  return nullptr;
}

std::string unknown_option_message(std::string_view name) {
  const std::string flat = flat_name(name);
  const auto& rows = option_rows();
  const auto nearest =
      std::min_element(rows.begin(), rows.end(), [&](const auto& a, const auto& b) {
        return edit_distance(a.info.name, flat) < edit_distance(b.info.name, flat);
      });
  // Half of the name wrong is no slip of the fingers any more; a guess would mislead then.
  if (edit_distance(nearest->info.name, flat) * 2 > flat.size())
    return fmt::format("unknown option '{}'; docs/options.md lists them all", name);
  return fmt::format("unknown option '{}'; did you mean '{}'?", name, nearest->info.name);
}

std::optional<Json> json_from_text(TextForm form, std::string_view text) {
  const auto items = [&] {
    std::vector<std::string_view> parts;
    for (std::size_t begin = 0; !text.empty() && begin <= text.size();) {
      const std::size_t end = std::min(text.find(',', begin), text.size());
      parts.push_back(text.substr(begin, end - begin));
      begin = end + 1;
    }
    return parts;
  };
  switch (form) {
    case TextForm::kWord:
    case TextForm::kAppendWord: return Json(text);
    case TextForm::kBool:
      if (text == "true") return Json(true);
      if (text == "false") return Json(false);
      return std::nullopt;
    case TextForm::kNumber:
      // A word ("all") may stand for a number; the row knows which.
      return number_from_text(text).value_or(Json(text));
    case TextForm::kWords: return Json(items());
    case TextForm::kNumbers: {
      Json list = Json::array();
      for (const std::string_view item : items()) {
        const auto value = number_from_text(item);
        if (!value) return std::nullopt;
        list.push_back(*value);
      }
      return list;
    }
  }
  return std::nullopt;
}

}  // namespace shardreel
