#pragma once
// libavfilter, loaded when the first graph is made.

#include <cstdint>  // before FFmpeg's, which want its macros

extern "C" {
#include <libavfilter/avfilter.h>
#include <libavfilter/buffersink.h>
#include <libavfilter/buffersrc.h>
}

#include "shardreel/error.h"

namespace shardreel::tools {

/// The functions that are used of it. It brings some seventy libraries along (fonts, speech, GPU
/// drivers): linked in, they took a third of the time in which any command starts, and 11 MiB.
/// Stays loaded, as some of those cannot be unloaded. Immutable.
struct FilterLibrary {
  /// Load it, once a process. kUnsupported where the version built for is not installed.
  static Result<const FilterLibrary*> get();

  decltype(&avfilter_get_by_name) get_by_name = nullptr;
  decltype(&avfilter_graph_alloc) graph_alloc = nullptr;
  decltype(&avfilter_graph_free) graph_free = nullptr;
  decltype(&avfilter_graph_create_filter) graph_create_filter = nullptr;
  decltype(&avfilter_graph_parse_ptr) graph_parse_ptr = nullptr;
  decltype(&avfilter_graph_config) graph_config = nullptr;
  decltype(&avfilter_inout_alloc) inout_alloc = nullptr;
  decltype(&avfilter_inout_free) inout_free = nullptr;
  decltype(&av_buffersrc_add_frame) add_frame = nullptr;
  decltype(&av_buffersink_get_frame) get_frame = nullptr;
  decltype(&av_buffersink_get_time_base) get_time_base = nullptr;

  /// Load the library of this name; `get` with a name of its own, for tests.
  static Result<FilterLibrary> load(const char* name);
};

}  // namespace shardreel::tools
