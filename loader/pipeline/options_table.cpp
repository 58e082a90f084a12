#include "loader/pipeline/options_table.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "loader/pipeline/options_kinds.h"

namespace shardreel {
namespace {

using namespace option_kinds;

// Access to a member, for const and mutable options alike.
#define SHARDREEL_MEMBER(path) \
  [](auto& o) -> auto& { return o.path; }

void add_input_rows(std::vector<OptionRow>& rows) {
  rows.push_back(words({"urls",
                        "patterns: braces, `::`, `@FILE`, paths, `http(s)://…`, `s3://BUCKET/KEY`, "
                        "`gs://…`, `hf://…`, `-` (standard "
                        "input), `pipe:COMMAND`",
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
              "With on_error = skip: end the run when a larger part of the samples failed or of "
              "their clips were lost (judged from 100 samples on and at the end of the epoch)."},
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
  rows.push_back(whole_or({"window_stride", "1 or more; unset = num_frames × frame_step", "O",
                           "Frames from one window's start to the next."},
                          std::nullopt, SHARDREEL_MEMBER(window.window_stride)));
  rows.push_back(maybe({"fps", "above 0; unset = by frame", "O",
                        "Sample by time at this rate; num_frames and window_stride count output "
                        "frames then. A video that shows one frame for more than 300 s fails."},
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
      choice({"sample_aspect",
              {},
              "P",
              "Take pixels as square, or apply the stream's sample aspect ratio before resizing."},
             {"ignore", "apply"}, SHARDREEL_MEMBER(transform.sample_aspect)));
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
  rows.push_back(maybe(
      {"drop_last", "true, false; unset = true, but false with shuffle = none or ranks = exact",
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
  rows.push_back(
      choice({"shuffle_domain",
              {},
              "O",
              "What the shuffle holds: decoded clips, or compressed units that are decoded "
              "behind it (ten to forty times more per byte); auto looks at the first "
              "16 samples."},
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
  rows.push_back(choice(
      {"page_cache",
       {},
       "",
       "Whether local shards that were read stay in the page cache; auto: dropped when all of them "
       "are more than half of the memory there is. With fewer shards than ranks they stay: each is "
       "read by all."},
      {"auto", "keep", "drop"}, SHARDREEL_MEMBER(input.page_cache)));
  rows.push_back(
      truth({"allow_pipe", "true, false", "", "Whether `pipe:COMMAND` may run commands."},
            SHARDREEL_MEMBER(input.allow_pipe)));
  rows.push_back(folder({"index_dir", "folder; unset = beside each shard", "",
                         "Where `shardreel index` put the shards' indexes."},
                        SHARDREEL_MEMBER(input.index_dir)));
  rows.push_back(
      words({"devices",
             "list of `cpu:N` (virtual host devices) or of `cuda:N`; or `auto` = the GPU "
             "of the local rank, else cpu:0",
             "", "Where batches land; one lane each."},
            TextForm::kWords, SHARDREEL_MEMBER(resource.devices)));
  rows.push_back(choice(
      {"decode",
       {},
       "P",
       "Who decodes; auto: a lane's GPU what it was seen to decode as the CPU does, the CPU the "
       "rest (docs/gpu.md)."},
      {"cpu", "cuda", "auto"}, SHARDREEL_MEMBER(resource.decode)));
  rows.push_back(bytes_text({"gpu_memory_bytes", "size, or a part of the GPU's memory, e.g. 8%", "",
                             "Memory that the loader may hold of each GPU."},
                            SHARDREEL_MEMBER(resource.gpu_memory_bytes)));
  rows.push_back(bytes_text({"gpu_memory_reserve", "size, or a part; unset = 5%, but 1GiB or more",
                             "", "Memory of each GPU that the loader leaves free for others."},
                            SHARDREEL_MEMBER(resource.gpu_memory_reserve)));
}

void add_remote_rows(std::vector<OptionRow>& rows) {
  rows.push_back(whole({"connections", "1 or more", "",
                        "Connections to servers at one time, a lane; see docs/remote.md."},
                       SHARDREEL_MEMBER(input.connections)));
  rows.push_back(whole({"retries", "0 or more", "",
                        "Attempts after the first that brings nothing, for each range of a shard."},
                       SHARDREEL_MEMBER(input.retries)));
  rows.push_back(number({"request_timeout", "seconds above 0", "",
                         "The longest one request may take; it goes on behind what came."},
                        SHARDREEL_MEMBER(input.request_timeout)));
  rows.push_back(
      number({"stall_timeout", "seconds above 0", "",
              "The longest a request may stand still before the next attempt, and a pipe "
              "that bytes are wanted from before its shard fails."},
             SHARDREEL_MEMBER(input.stall_timeout)));
  rows.push_back(
      number({"shard_timeout", "seconds above 0", "",
              "The longest that a shard's bytes may be waited for, over the network or from "
              "a pipe, all waits together."},
             SHARDREEL_MEMBER(input.shard_timeout)));
  rows.push_back(headers(
      {"http_headers", "`Name: value`, where `${VARIABLE}` stands for the environment's", "",
       "Sent with requests to the origin that a URL names, never further. Write "
       "secrets as variables; other values are not shown again."},
      SHARDREEL_MEMBER(input.http_headers)));
  rows.push_back(
      folder({"ca_file", "file; unset = $CURL_CA_BUNDLE, $SSL_CERT_FILE, else the system's", "",
              "Certificates to trust for https."},
             SHARDREEL_MEMBER(input.ca_file)));
  rows.push_back(folder({"s3_endpoint",
                         "URL; unset = $AWS_ENDPOINT_URL_S3, $AWS_ENDPOINT_URL, the profile's, "
                         "else AWS's own",
                         "", "Server of s3:// shards."},
                        SHARDREEL_MEMBER(input.s3_endpoint)));
  rows.push_back(folder({"s3_region",
                         "region; unset = $AWS_REGION, $AWS_DEFAULT_REGION, the profile's, else "
                         "us-east-1",
                         "", "Region that requests to S3 are signed for."},
                        SHARDREEL_MEMBER(input.s3_region)));
  rows.push_back(truth(
      {"anonymous", "true, false", "", "Read s3://, gs:// and hf:// shards without credentials."},
      SHARDREEL_MEMBER(input.anonymous)));
  rows.push_back(folder({"cache_dir", "folder; unset = none", "",
                         "Keeps whole remote shards for later epochs and other processes."},
                        SHARDREEL_MEMBER(input.cache_dir)));
  rows.push_back(bytes({"cache_bytes", "size; 0 = no bound", "",
                        "Bound of cache_dir: the least recently used shards are removed first."},
                       SHARDREEL_MEMBER(input.cache_bytes)));
  rows.push_back(truth({"cache_only", "true, false", "",
                        "Read remote shards from cache_dir without any network, or fail."},
                       SHARDREEL_MEMBER(input.cache_only)));
}

#undef SHARDREEL_MEMBER

std::string flat_name(std::string_view name) {
  std::string flat(name);
  std::replace(flat.begin(), flat.end(), '-', '_');
  return flat;
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
    add_remote_rows(rows);
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

}  // namespace shardreel
