#pragma once
// A test's hand on the fake driver. It is loaded by its path; whoever then asks for libcuda.so.1 or
// libnvcuvid.so.1 in this process gets these.

#include <dlfcn.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace shardreel::testing {

class FakeDriver {
 public:
  enum class Decoder { kThere, kMissing };

  /// `folder` holds both libraries. Once a process.
  explicit FakeDriver(const std::string& folder, Decoder decoder = Decoder::kThere)
      : driver_(load(folder + "/libcuda.so.1")) {
    if (decoder == Decoder::kThere) load(folder + "/libnvcuvid.so.1");
  }
  void set_memory(std::uint64_t bytes) {
    call<void(std::uint64_t)>("fakedriver_set_memory")(bytes);
  }
  void set_sessions(int most) { call<void(int)>("fakedriver_set_sessions")(most); }
  [[nodiscard]] std::uint64_t memory_in_use() const {
    return call<std::uint64_t()>("fakedriver_memory_in_use")();
  }
  [[nodiscard]] int sessions_live() const { return call<int()>("fakedriver_sessions_live")(); }
  [[nodiscard]] int sessions_made() const { return call<int()>("fakedriver_sessions_made")(); }

 private:
  static void* load(const std::string& path) {
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (library == nullptr) throw std::runtime_error(dlerror());
    return library;
  }
  template <typename F>
  F* call(const char* name) const {
    auto* function = reinterpret_cast<F*>(dlsym(driver_, name));
    if (function == nullptr)
      throw std::runtime_error(std::string("the driver is no fake: ") + name);
    return function;
  }
  void* const driver_;
};

}  // namespace shardreel::testing
