#include "tools/pack/media_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "loader/media/av_error.h"
#include "shards/file_access.h"

extern "C" {
#include <libavutil/dict.h>
#include <libavutil/mathematics.h>
#include <libavutil/mem.h>
}

namespace shardreel::tools {
namespace {

constexpr int kBufferBytes = 64 * 1024;
constexpr const char* kFileName = "the file that a video is written to";

/// What FFmpeg reads from or writes to: the one file, each with a position of its own.
struct FileView {
  int fd = -1;
  std::uint64_t* size = nullptr;  // the file's, shared by its views
  std::uint64_t position = 0;
  std::optional<Error> error;
};

int read_file(void* opaque, std::uint8_t* data, int size) noexcept {
  auto& view = *static_cast<FileView*>(opaque);
  const ssize_t got =
      pread(view.fd, data, static_cast<std::size_t>(size), static_cast<off_t>(view.position));
  if (got < 0) return AVERROR(errno);
  if (got == 0) return AVERROR_EOF;
  view.position += static_cast<std::uint64_t>(got);
  return static_cast<int>(got);
}

int write_file(void* opaque, std::uint8_t* data, int size) noexcept {
  auto& view = *static_cast<FileView*>(opaque);
  if (view.error) return AVERROR(EIO);
  try {
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data),
                                           static_cast<std::size_t>(size));
    if (auto written = write_at(view.fd, view.position, bytes, kFileName); !written) {
      view.error = std::move(written.error());
      return AVERROR(EIO);
    }
  } catch (const std::exception&) {
    return AVERROR(ENOMEM);  // only an allocation can throw here
  }
  view.position += static_cast<std::uint64_t>(size);
  *view.size = std::max(*view.size, view.position);
  return size;
}

std::int64_t seek_file(void* opaque, std::int64_t offset, int whence) noexcept {
  auto& view = *static_cast<FileView*>(opaque);
  std::int64_t base = 0;
  switch (whence & ~AVSEEK_FORCE) {
    case AVSEEK_SIZE: return static_cast<std::int64_t>(*view.size);
    case SEEK_SET: break;
    case SEEK_CUR: base = static_cast<std::int64_t>(view.position); break;
    case SEEK_END: base = static_cast<std::int64_t>(*view.size); break;
    default: return AVERROR(EINVAL);
  }
  if (base + offset < 0) return AVERROR(EINVAL);
  view.position = static_cast<std::uint64_t>(base + offset);
  return base + offset;
}

AVIOContext* make_context(FileView& view, bool writing) noexcept {
  auto* buffer = static_cast<unsigned char*>(av_malloc(kBufferBytes));
  if (buffer == nullptr) return nullptr;
  AVIOContext* context = avio_alloc_context(buffer, kBufferBytes, writing ? 1 : 0, &view,
                                            writing ? nullptr : &read_file,
                                            writing ? &write_file : nullptr, &seek_file);
  if (context == nullptr) av_free(buffer);
  return context;
}

void free_context(AVIOContext* context) noexcept {
  if (context == nullptr) return;
  av_freep(&context->buffer);  // FFmpeg may have replaced the buffer: free the one it has now
  avio_context_free(&context);
}

}  // namespace

bool mp4_holds(AVCodecID codec) {
  const AVOutputFormat* mp4 = av_guess_format("mp4", nullptr, nullptr);
  return mp4 != nullptr && avformat_query_codec(mp4, codec, FF_COMPLIANCE_NORMAL) == 1;
}

struct MediaWriter::State {
  UniqueFd file;
  std::uint64_t size = 0;
  FileView written, read_back;
  AVFormatContext* format = nullptr;
  std::vector<AVRational> time_bases;  // of the packets that come in, by stream
  bool mp4 = false;

  ~State() {
    if (format != nullptr) {
      free_context(format->pb);
      avformat_free_context(format);
    }
  }

  // To put the index in front, the mp4 muxer opens its own output once more and moves the rest.
  static int open_again(AVFormatContext* format, AVIOContext** context, const char*, int flags,
                        AVDictionary**) noexcept {
    auto& state = *static_cast<State*>(format->opaque);
    if ((flags & AVIO_FLAG_WRITE) != 0) return AVERROR(EPERM);
    state.read_back = {state.file.get(), &state.size, 0, std::nullopt};
    *context = make_context(state.read_back, false);
    return *context == nullptr ? AVERROR(ENOMEM) : 0;
  }
  static int close_again(AVFormatContext*, AVIOContext* context) noexcept {
    free_context(context);
    return 0;
  }
};

MediaWriter::MediaWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
MediaWriter::MediaWriter(MediaWriter&&) noexcept = default;
MediaWriter& MediaWriter::operator=(MediaWriter&&) noexcept = default;
MediaWriter::~MediaWriter() = default;

Result<MediaWriter> MediaWriter::open(const std::string& container, const std::string& spool_dir) {
  silence_av_log();
  auto file = open_unlinked(spool_dir);
  if (!file) return std::move(file.error());
  auto state = std::make_unique<State>();
  state->file = std::move(*file);
  state->mp4 = container == "mp4";
  const int status =
      avformat_alloc_output_context2(&state->format, nullptr, container.c_str(), nullptr);
  if (status < 0) return av_failure(ErrorCode::kUnsupported, "open the muxer " + container, status);
  state->written = {state->file.get(), &state->size, 0, std::nullopt};
  AVFormatContext& format = *state->format;
  format.pb = make_context(state->written, true);
  if (format.pb == nullptr) return av_failure(ErrorCode::kMemory, "open a muxer", AVERROR(ENOMEM));
  format.opaque = state.get();
  format.io_open = &State::open_again;
  format.io_close2 = &State::close_again;
  // No encoder names, no dates, no random identifiers.
  format.flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_BITEXACT;
  format.avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
  return MediaWriter(std::move(state));
}

/// An error of FFmpeg's, or the operating system's behind it.
Result<void> MediaWriter::check(const char* doing, int status) {
  if (state_->written.error) return *state_->written.error;
  if (status < 0) return av_failure(ErrorCode::kUnsupported, doing, status);
  return {};
}

Result<int> MediaWriter::add_stream(const AVCodecParameters& codec, AVRational time_base,
                                    const AVStream* like) {
  AVStream* stream = avformat_new_stream(state_->format, nullptr);
  int status =
      stream == nullptr ? AVERROR(ENOMEM) : avcodec_parameters_copy(stream->codecpar, &codec);
  if (status < 0) return av_failure(ErrorCode::kMemory, "add a stream", status);
  stream->time_base = time_base;
  // Containers and codecs may both know it; muxers want them to agree.
  if (like != nullptr && like->sample_aspect_ratio.num > 0)
    stream->codecpar->sample_aspect_ratio = like->sample_aspect_ratio;
  stream->sample_aspect_ratio = stream->codecpar->sample_aspect_ratio;
  constexpr std::array kKept = {AV_PKT_DATA_DISPLAYMATRIX, AV_PKT_DATA_MASTERING_DISPLAY_METADATA,
                                AV_PKT_DATA_CONTENT_LIGHT_LEVEL};
  for (const AVPacketSideDataType type : kKept) {
    std::size_t size = 0;
    const std::uint8_t* data =
        like == nullptr ? nullptr : av_stream_get_side_data(like, type, &size);
    if (data == nullptr) continue;
    std::uint8_t* copy = av_stream_new_side_data(stream, type, size);
    if (copy == nullptr) return av_failure(ErrorCode::kMemory, "add a stream", AVERROR(ENOMEM));
    std::copy_n(data, size, copy);
  }
  state_->time_bases.push_back(time_base);
  return stream->index;
}

Result<void> MediaWriter::begin() {
  AVDictionary* options = nullptr;
  if (state_->mp4) {
    const AVRational base = state_->time_bases.front();
    // One unit of the track and of the movie (edit lists) is one of the source's: times stay exact.
    const int scale = base.num == 1 || base.den >= 1000 ? base.den : 90'000;
    av_dict_set_int(&options, "video_track_timescale", scale, 0);
    av_dict_set_int(&options, "movie_timescale", scale, 0);
    av_dict_set(&options, "movflags", "+faststart", 0);
  }
  const AvMessage message;
  const int status = avformat_write_header(state_->format, &options);
  av_dict_free(&options);
  auto checked = check("write the head of a video", status);
  if (!checked) return message.explain(std::move(checked.error()));
  return {};
}

Result<void> MediaWriter::write(AVPacket& packet, int stream) {
  const auto number = static_cast<std::size_t>(stream);
  av_packet_rescale_ts(&packet, state_->time_bases[number],
                       state_->format->streams[number]->time_base);
  packet.stream_index = stream;
  packet.pos = -1;
  const AvMessage message;
  auto checked = check("write a packet", av_write_frame(state_->format, &packet));
  if (!checked) return message.explain(std::move(checked.error()));
  return {};
}

Result<std::shared_ptr<const RandomAccess>> MediaWriter::finish() {
  const AvMessage message;
  int status = av_write_trailer(state_->format);
  if (status >= 0) {
    avio_flush(state_->format->pb);
    status = state_->format->pb->error;
  }
  auto checked = check("finish a video", status);
  if (!checked) return message.explain(std::move(checked.error()));
  return file_range(std::move(state_->file), state_->size, kFileName);
}

}  // namespace shardreel::tools
