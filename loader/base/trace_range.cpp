// In builds with CUDA: NVTX is headers that load a tool's library where NVTX_INJECTION64_PATH names
// one, and nothing else.
#include "loader/base/trace_range.h"

#include <nvtx3/nvToolsExt.h>

namespace shardreel {
namespace {

nvtxDomainHandle_t domain() noexcept {
  static nvtxDomainHandle_t const only = nvtxDomainCreateA("shardreel");
  return only;
}

}  // namespace

TraceRange::TraceRange(const char* name) noexcept {
  nvtxDomainHandle_t const here = domain();
  if (here == nullptr) return;  // no tool
  nvtxEventAttributes_t range{};
  range.version = NVTX_VERSION;
  range.size = NVTX_EVENT_ATTRIB_STRUCT_SIZE;
  range.messageType = NVTX_MESSAGE_TYPE_ASCII;
  range.message.ascii = name;
  nvtxDomainRangePushEx(here, &range);
}

TraceRange::~TraceRange() {
  if (nvtxDomainHandle_t const here = domain(); here != nullptr) nvtxDomainRangePop(here);
}

}  // namespace shardreel
