// What a profiler is to NVTX: a library that it loads by NVTX_INJECTION64_PATH and gives its
// function pointers to. Counts ranges by name, and what is wrong with them.
#include <nvtx3/nvToolsExt.h>

#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

struct State {
  std::mutex mutex;
  std::string domain;
  std::map<std::string, int> ranges;
  std::map<std::thread::id, std::vector<std::string>> open;
  std::map<std::string, int> inside;  // "INNER in OUTER"
  int misuse = 0;
};
State& state() {
  static State only;
  return only;
}
int handle = 0;

nvtxDomainHandle_t create_domain(const char* name) {
  const std::lock_guard lock(state().mutex);
  if (!state().domain.empty()) ++state().misuse;
  state().domain = name;
  return reinterpret_cast<nvtxDomainHandle_t>(&handle);
}
int push(nvtxDomainHandle_t domain, const nvtxEventAttributes_t* range) {
  const std::lock_guard lock(state().mutex);
  if (domain != reinterpret_cast<nvtxDomainHandle_t>(&handle) || range->version != NVTX_VERSION ||
      range->messageType != NVTX_MESSAGE_TYPE_ASCII) {
    ++state().misuse;
    return -1;
  }
  auto& open = state().open[std::this_thread::get_id()];
  ++state().ranges[range->message.ascii];
  if (!open.empty()) ++state().inside[range->message.ascii + std::string(" in ") + open.back()];
  open.emplace_back(range->message.ascii);
  return static_cast<int>(open.size()) - 1;
}
int pop(nvtxDomainHandle_t) {
  const std::lock_guard lock(state().mutex);
  auto& open = state().open[std::this_thread::get_id()];
  if (open.empty()) {
    ++state().misuse;
    return -1;
  }
  open.pop_back();
  return static_cast<int>(open.size());
}

}  // namespace

extern "C" {

__attribute__((visibility("default"))) int InitializeInjectionNvtx2(
    NvtxGetExportTableFunc_t get_export_table) {
  const auto* callbacks =
      static_cast<const NvtxExportTableCallbacks*>(get_export_table(NVTX_ETID_CALLBACKS));
  NvtxFunctionTable table = nullptr;
  unsigned size = 0;
  if (callbacks == nullptr ||
      callbacks->GetModuleFunctionTable(NVTX_CB_MODULE_CORE2, &table, &size) == 0 ||
      size <= NVTX_CBID_CORE2_DomainCreateA) {
    return 0;
  }
  *table[NVTX_CBID_CORE2_DomainCreateA] = reinterpret_cast<NvtxFunctionPointer>(&create_domain);
  *table[NVTX_CBID_CORE2_DomainRangePushEx] = reinterpret_cast<NvtxFunctionPointer>(&push);
  *table[NVTX_CBID_CORE2_DomainRangePop] = reinterpret_cast<NvtxFunctionPointer>(&pop);
  return 1;
}

/// Ranges of that name; with " in ", those that lie directly in another.
int trace_tool_count(const char* name) {
  const std::lock_guard lock(state().mutex);
  const auto& among =
      std::string(name).find(" in ") == std::string::npos ? state().ranges : state().inside;
  const auto found = among.find(name);
  return found == among.end() ? 0 : found->second;
}
int trace_tool_open() {
  const std::lock_guard lock(state().mutex);
  std::size_t open = 0;
  for (const auto& [thread, names] : state().open) open += names.size();
  return static_cast<int>(open);
}
int trace_tool_misuse() {
  const std::lock_guard lock(state().mutex);
  return state().misuse;
}
const char* trace_tool_domain() { return state().domain.c_str(); }

}  // extern "C"
