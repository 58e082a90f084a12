#include "tools/pack/filter_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <type_traits>

extern "C" {
#include <libavutil/macros.h>
}

namespace shardreel::tools {
namespace {

constexpr const char* kLibrary = "libavfilter.so." AV_STRINGIFY(LIBAVFILTER_VERSION_MAJOR);

Error unavailable(const char* name) {
  const char* why = dlerror();
  return Error{ErrorCode::kUnsupported,
               fmt::format("loading {}, which prepares frames for an encoder: {}", name,
                           why == nullptr ? "no reason is given" : why),
               {},
               {},
               {}};
}

}  // namespace

Result<FilterLibrary> FilterLibrary::load(const char* name) {
  void* const opened = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) return unavailable(name);
  FilterLibrary library;
  bool all = true;
  const auto find = [&](auto& function, const char* symbol) {
    if (!all) return;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(opened, symbol));
    all = function != nullptr;
  };
  find(library.get_by_name, "avfilter_get_by_name");
  find(library.graph_alloc, "avfilter_graph_alloc");
  find(library.graph_free, "avfilter_graph_free");
  find(library.graph_create_filter, "avfilter_graph_create_filter");
  find(library.graph_parse_ptr, "avfilter_graph_parse_ptr");
  find(library.graph_config, "avfilter_graph_config");
  find(library.inout_alloc, "avfilter_inout_alloc");
  find(library.inout_free, "avfilter_inout_free");
  find(library.add_frame, "av_buffersrc_add_frame");
  find(library.get_frame, "av_buffersink_get_frame");
  find(library.get_time_base, "av_buffersink_get_time_base");
  if (!all) return unavailable(name);
  return library;
}

Result<const FilterLibrary*> FilterLibrary::get() {
  static const Result<FilterLibrary> only = load(kLibrary);
  if (!only) return only.error();
  return &*only;
}

}  // namespace shardreel::tools
