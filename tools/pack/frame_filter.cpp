#include "tools/pack/frame_filter.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "loader/media/av_error.h"
#include "tools/pack/filter_library.h"

extern "C" {
#include <libavutil/pixdesc.h>
}

namespace shardreel::tools {

struct FrameFilter::State {
  explicit State(const FilterLibrary& functions)
      : library(functions), graph(library.graph_alloc()) {}
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { library.graph_free(&graph); }

  const FilterLibrary& library;
  AVFilterGraph* graph;
  AVFilterContext* source = nullptr;  // both owned by the graph
  AVFilterContext* sink = nullptr;
  int width = 0, height = 0, format = -1;
};

FrameFilter::FrameFilter(std::unique_ptr<State> state) : state_(std::move(state)) {}
FrameFilter::FrameFilter(FrameFilter&&) noexcept = default;
FrameFilter& FrameFilter::operator=(FrameFilter&&) noexcept = default;
FrameFilter::~FrameFilter() = default;

Result<FrameFilter> FrameFilter::open(const std::string& description, const AVFrame& like,
                                      AVRational time_base) {
  const AvMessage message;
  const auto loaded = FilterLibrary::get();
  if (!loaded) return loaded.error();
  const FilterLibrary& library = **loaded;
  auto state = std::make_unique<State>(library);
  state->width = like.width;
  state->height = like.height;
  state->format = like.format;
  if (state->graph == nullptr) return av_failure(ErrorCode::kMemory, "filter", AVERROR(ENOMEM));
  state->graph->nb_threads = 1;
  const std::string input =
      fmt::format("video_size={}x{}:pix_fmt={}:time_base={}/{}:pixel_aspect={}/{}", like.width,
                  like.height, like.format, time_base.num, time_base.den,
                  like.sample_aspect_ratio.num, std::max(like.sample_aspect_ratio.den, 1));
  AVFilterGraph* graph = state->graph;
  int status = library.graph_create_filter(&state->source, library.get_by_name("buffer"), "in",
                                           input.c_str(), nullptr, graph);
  if (status >= 0)
    status = library.graph_create_filter(&state->sink, library.get_by_name("buffersink"), "out",
                                         nullptr, nullptr, graph);
  AVFilterInOut* outputs = library.inout_alloc();
  AVFilterInOut* inputs = library.inout_alloc();
  if (outputs == nullptr || inputs == nullptr) status = AVERROR(ENOMEM);
  if (status >= 0) {
    outputs->name = av_strdup("in");
    outputs->filter_ctx = state->source;
    inputs->name = av_strdup("out");
    inputs->filter_ctx = state->sink;
    status = library.graph_parse_ptr(graph, description.c_str(), &inputs, &outputs, nullptr);
  }
  library.inout_free(&inputs);
  library.inout_free(&outputs);
  if (status >= 0) status = library.graph_config(graph, nullptr);
  if (status < 0) {
    const char* format = av_get_pix_fmt_name(static_cast<AVPixelFormat>(like.format));
    return message.explain(
        av_failure(ErrorCode::kUnsupported,
                   fmt::format("prepare frames of {}x{} {} with {}", like.width, like.height,
                               format == nullptr ? "unknown" : format, description),
                   status));
  }
  return FrameFilter(std::move(state));
}

Result<void> FrameFilter::push(AVFrame* frame) {
  const AvMessage message;
  const int status = state_->library.add_frame(state_->source, frame);
  if (status < 0) return message.explain(av_failure(ErrorCode::kUnsupported, "filter", status));
  return {};
}

Result<bool> FrameFilter::pull(AVFrame& frame) {
  const AvMessage message;
  const int status = state_->library.get_frame(state_->sink, &frame);
  if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return false;
  if (status < 0) return message.explain(av_failure(ErrorCode::kUnsupported, "filter", status));
  return true;
}

AVRational FrameFilter::time_base() const noexcept {
  return state_->library.get_time_base(state_->sink);
}

bool FrameFilter::takes(const AVFrame& frame) const noexcept {
  return frame.width == state_->width && frame.height == state_->height &&
         frame.format == state_->format;
}

}  // namespace shardreel::tools
