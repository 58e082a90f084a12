#include "loader/pipeline/loader_state.h"

#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <utility>

#include "loader/pipeline/options_table.h"

namespace shardreel {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;

Error refuse(std::string why) {
  return {ErrorCode::kInvalidOption, "the loader's state: " + std::move(why), {}, {}, {}};
}

/// The options that a resumed run shares. How many epochs there are may change, and shards are
/// compared one by one; the devices only count.
bool is_compared(const OptionInfo& option) {
  return !option.decides.empty() && option.name != "epoch" && option.name != "epochs" &&
         option.name != "urls";
}

/// FNV-1a over all URLs: the list may be long, and URLs may hold what nobody else should read.
std::string fingerprint(const ShardList& shards) {
  std::uint64_t hash = 14695981039346656037U;
  const auto add = [&hash](char byte) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211U;
  };
  for (std::uint64_t i = 0; i < shards.size(); ++i) {
    for (const char byte : shards.at(i)) add(byte);
    add('\n');
  }
  return fmt::format("{:016x}", hash);
}

std::optional<std::string> hex_unless_utf8(const std::string& text) {
  try {
    (void)Json(text).dump();
    return std::nullopt;
  } catch (const Json::type_error&) {
    std::string hex;
    for (const char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return hex;
  }
}

/// JSON holds UTF-8 only, names hold any bytes: what is no UTF-8 becomes {"hex": ...}, so that two
/// names stay two.
Json exact(const Json& value) {
  if (value.is_string()) {
    auto hex = hex_unless_utf8(value.get_ref<const std::string&>());
    return hex ? Json{{"hex", std::move(*hex)}} : value;
  }
  if (!value.is_array()) return value;
  Json list = Json::array();
  for (const Json& one : value) list.push_back(exact(one));
  return list;
}

std::string bytes_from(const Json& exact) {
  if (!exact.is_object()) return exact.get<std::string>();
  const std::string hex = exact.at("hex").get<std::string>();
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes += static_cast<char>(std::strtoul(hex.substr(i, 2).c_str(), nullptr, 16));
  return bytes;
}

Json to_json(const std::optional<Error>& error) {
  if (!error) return nullptr;
  return {{"code", static_cast<int>(error->code)},
          {"message", exact(error->message)},
          {"shard", exact(error->shard)},
          {"key", exact(error->key)},
          {"offset", error->offset ? Json(*error->offset) : Json(nullptr)}};
}

std::optional<Error> error_from(const Json& json) {
  if (json.is_null()) return std::nullopt;
  const int code = json.at("code").get<int>();
  Error error{code < 0 || code > static_cast<int>(ErrorCode::kInternal)
                  ? ErrorCode::kInternal
                  : static_cast<ErrorCode>(code),
              bytes_from(json.at("message")),
              bytes_from(json.at("shard")),
              bytes_from(json.at("key")),
              {}};
  if (!json.at("offset").is_null()) error.offset = json.at("offset").get<std::uint64_t>();
  return error;
}

Json to_json(const SampleProgress& progress) {
  return {{"units_ended", progress.units_ended},
          {"clips_made", progress.clips_made},
          {"first_loss", to_json(progress.first_loss)}};
}

SampleProgress progress_from(const Json& json) {
  return {json.at("units_ended").get<std::uint64_t>(), json.at("clips_made").get<std::uint64_t>(),
          error_from(json.at("first_loss"))};
}

Json to_json(const EpochCounts& counts) {
  return {{"pass", counts.pass},
          {"batches", counts.batches},
          {"clips_in_epoch", counts.clips_in_epoch},
          {"clips_in_pass", counts.clips_in_pass},
          {"samples_seen", counts.samples_seen},
          {"samples_failed", counts.samples_failed},
          {"shards_failed", counts.shards_failed},
          {"clips_lost", counts.clips_lost},
          {"first_failure", to_json(counts.first_failure)}};
}

EpochCounts counts_from(const Json& json) {
  EpochCounts counts;
  const auto read = [&json](const char* name, std::uint64_t& to) { json.at(name).get_to(to); };
  read("pass", counts.pass);
  read("batches", counts.batches);
  read("clips_in_epoch", counts.clips_in_epoch);
  read("clips_in_pass", counts.clips_in_pass);
  read("samples_seen", counts.samples_seen);
  read("samples_failed", counts.samples_failed);
  read("shards_failed", counts.shards_failed);
  counts.clips_lost = json.value("clips_lost", std::uint64_t{0});  // older states have none
  counts.first_failure = error_from(json.at("first_failure"));
  return counts;
}

Json to_json(const FeedPosition& feed) {
  Json turns = Json::array(), slots = Json::array();
  for (const auto& turn : feed.stream.turns)
    turns.push_back(turn.open ? Json::array({turn.shard, turn.taken}) : Json(nullptr));
  for (const auto& slot : feed.slots) {
    slots.push_back(slot.open
                        ? Json::array({slot.sample.first, slot.sample.second, slot.units_done})
                        : Json(nullptr));
  }
  return {{"next_shard", feed.stream.next_shard},
          {"shard_turn", feed.stream.turn},
          {"shards", std::move(turns)},
          {"video_turn", feed.turn},
          {"videos", std::move(slots)}};
}

FeedPosition feed_from(const Json& json) {
  FeedPosition feed;
  json.at("next_shard").get_to(feed.stream.next_shard);
  json.at("shard_turn").get_to(feed.stream.turn);
  json.at("video_turn").get_to(feed.turn);
  for (const Json& turn : json.at("shards")) {
    auto& made = feed.stream.turns.emplace_back();
    if (turn.is_null()) continue;
    made = {turn.at(0).get<std::uint64_t>(), turn.at(1).get<std::uint64_t>(), true};
  }
  for (const Json& slot : json.at("videos")) {
    auto& made = feed.slots.emplace_back();
    if (slot.is_null()) continue;
    made = {true,
            {slot.at(0).get<std::uint64_t>(), slot.at(1).get<std::uint64_t>()},
            slot.at(2).get<std::uint64_t>()};
  }
  return feed;
}

Json to_json(const LaneState& lane) {
  Json json = {{"epoch", lane.epoch}, {"epochs_taken", lane.epochs_taken}, {"begun", lane.begun}};
  if (!lane.begun) return json;
  json["epoch_complete"] = lane.epoch_complete;
  json["counts"] = to_json(lane.counts);
  if (lane.epoch_complete) return json;
  json["feed"] = to_json(lane.feed);
  json["unit"] = nullptr;
  if (lane.current) {
    json["unit"] = {{"shard", lane.current->sample.first},
                    {"sample", lane.current->sample.second},
                    {"first_window", lane.current->first_window},
                    {"taken", lane.current->taken},
                    {"progress", to_json(lane.current->progress)}};
  }
  Json samples = Json::array();
  for (const auto& [key, progress] : lane.samples)
    samples.push_back(Json::array({key.first, key.second, to_json(progress)}));
  json["samples"] = std::move(samples);
  json["pixel_tier"] = lane.pixels.save();
  json["packet_tier"] = lane.packets.save();
  return json;
}

Result<LaneState> lane_from(const Json& json, const LoaderOptions& options,
                            const MemoryPlan& plan) {
  LaneState lane(pixel_order_options(options, plan), tier_order_options(options, plan));
  lane.begin(json.at("epoch").get<std::uint64_t>());
  json.at("epochs_taken").get_to(lane.epochs_taken);
  json.at("begun").get_to(lane.begun);
  if (!lane.begun) return lane;
  json.at("epoch_complete").get_to(lane.epoch_complete);
  lane.counts = counts_from(json.at("counts"));
  if (lane.epoch_complete) return lane;
  lane.feed = feed_from(json.at("feed"));
  if (lane.feed.slots.size() > options.input.open_videos ||
      lane.feed.stream.turns.size() > options.input.open_shards ||
      (!lane.feed.slots.empty() && lane.feed.turn >= lane.feed.slots.size()) ||
      (!lane.feed.stream.turns.empty() && lane.feed.stream.turn >= lane.feed.stream.turns.size()))
    return refuse("its position among shards and videos is damaged");
  if (const Json& unit = json.at("unit"); !unit.is_null()) {
    lane.current = {{unit.at("shard").get<std::uint64_t>(), unit.at("sample").get<std::uint64_t>()},
                    unit.at("first_window").get<std::uint64_t>(),
                    unit.at("taken").get<std::uint64_t>(),
                    progress_from(unit.at("progress"))};
  }
  for (const Json& sample : json.at("samples")) {
    lane.samples[{sample.at(0).get<std::uint64_t>(), sample.at(1).get<std::uint64_t>()}] =
        progress_from(sample.at(2));
  }
  for (auto [order, name] :
       {std::pair{&lane.pixels, "pixel_tier"}, std::pair{&lane.packets, "packet_tier"}}) {
    if (auto restored = order->restore(json.at(name).get_ref<const std::string&>()); !restored)
      return std::move(restored.error());
  }
  return lane;
}

Result<Json> parse(std::string_view state) {
  try {
    Json json = Json::parse(state);
    if (!json.is_object() || json.value("shardreel_state", Json()) != Json(kVersion))
      return refuse(fmt::format("this is no state of version {}", kVersion));
    return json;
  } catch (const Json::exception& failure) {
    return refuse(std::string("it is not JSON: ") + failure.what());
  }
}

}  // namespace

std::string write_state(const LoaderOptions& options, const ShardList& shards,
                        const std::vector<LaneState>& lanes,
                        const std::map<std::uint64_t, ShardContent>& contents) {
  nlohmann::ordered_json json = {{"shardreel_state", kVersion}};
  nlohmann::ordered_json& decided = json["options"] = nlohmann::ordered_json::object();
  for (const OptionRow& row : option_rows()) {
    if (is_compared(row.info)) decided[row.info.name] = exact(row.get(options));
  }
  json["shards"] = {{"count", shards.size()}, {"names", fingerprint(shards)}};
  nlohmann::ordered_json& known = json["shards"]["contents"] = nlohmann::ordered_json::array();
  for (const auto& [number, content] : contents)
    known.push_back({number, content.size, exact(content.etag), content.sample});
  nlohmann::ordered_json& all = json["lanes"] = nlohmann::ordered_json::array();
  for (const LaneState& lane : lanes) all.emplace_back(to_json(lane));
  return json.dump();
}

Result<void> adopt_decisions(std::string_view state, LoaderOptions& options) {
  const auto json = parse(state);
  if (!json) return json.error();
  try {
    const Json& decided = json->at("options");
    if (options.resource.shuffle_domain == ShuffleDomain::kAuto)
      find_option("shuffle_domain")->set(options, decided.at("shuffle_domain"));
    if (!options.batch.batches_per_epoch)
      find_option("batches_per_epoch")->set(options, decided.at("batches_per_epoch"));
    if (!options.batch.drop_last) find_option("drop_last")->set(options, decided.at("drop_last"));
    if (options.resource.decode == DecodeDevice::kAuto && decided.at("decode") == "cpu")
      options.resource.decode = DecodeDevice::kCpu;
    return {};
  } catch (const Json::exception& failure) {
    return refuse(std::string("it is damaged: ") + failure.what());
  }
}

Result<std::vector<LaneState>> read_state(std::string_view state, const LoaderOptions& options,
                                          const MemoryPlan& plan, const ShardList& shards) {
  const auto json = parse(state);
  if (!json) return json.error();
  try {
    std::string differ;
    const auto compare = [&differ](std::string_view what, const Json& then, const Json& now) {
      if (then == now) return;
      differ += fmt::format("{}{} was {} and is {}", differ.empty() ? "" : "; ", what, then.dump(),
                            now.dump());
    };
    const Json& decided = json->at("options");
    for (const OptionRow& row : option_rows()) {
      // What auto gives is within the pixel contract, as the CPU's is.
      if (row.info.name == "decode" && decided.value("decode", "") == "auto" &&
          options.resource.decode == DecodeDevice::kCpu)
        continue;
      if (is_compared(row.info))
        // A state of before the option was there ran with its default.
        compare(row.info.name, decided.value(row.info.name, exact(row.get(LoaderOptions()))),
                exact(row.get(options)));
    }
    const Json& lanes = json->at("lanes");
    compare("the number of lanes (devices)", lanes.size(), plan.lanes);
    const Json& list = json->at("shards");
    compare("the number of shards", list.at("count"), shards.size());
    if (list.at("count") == Json(shards.size()) && list.at("names") != Json(fingerprint(shards)))
      differ += fmt::format("{}the shards have other names", differ.empty() ? "" : "; ");
    if (!differ.empty()) return refuse("it does not fit: " + differ);
    // Older programs knew shards by name only.
    std::map<std::uint64_t, ShardContent> contents;
    for (const Json& known : list.value("contents", Json::array())) {
      contents[known.at(0).get<std::uint64_t>()] = {known.at(1).get<std::uint64_t>(),
                                                    bytes_from(known.at(2)),
                                                    known.at(3).get<std::string>()};
    }
    std::vector<LaneState> all;
    for (const Json& lane : lanes) {
      auto read = lane_from(lane, options, plan);
      if (!read) return std::move(read.error());
      for (const std::uint64_t number : read->shards()) {
        if (const auto known = contents.find(number); known != contents.end())
          read->contents.insert(*known);
      }
      all.push_back(std::move(*read));
    }
    return all;
  } catch (const Json::exception& failure) {
    return refuse(std::string("it is damaged: ") + failure.what());
  }
}

}  // namespace shardreel
