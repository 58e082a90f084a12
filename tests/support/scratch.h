#pragma once
// A fresh folder for one test, removed at its end; running programs; how many rounds a property
// test does.

#include <cstdint>
#include <filesystem>
#include <string>

namespace shardreel::testing {

class ScratchDir {
 public:
  ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;
  ~ScratchDir();
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const {
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

/// Run a shell command; return its standard output. A status other than 0 throws with the output of
/// both.
std::string run_command(const std::string& command);

/// Rounds of a property test: `full` under SHARDREEL_FULL_TESTS=1 (tests/run.sh --full), else a
/// twentieth, at least 1.
std::uint64_t rounds(std::uint64_t full);

/// Seed of a property test: $SHARDREEL_TEST_SEED or a fresh one; printed, so that a failure can be
/// run again.
std::uint64_t test_seed();

/// Whether a sanitizer is built in (checks of kernel memory are skipped then).
constexpr bool sanitized() {
#ifdef SHARDREEL_SANITIZED
  return true;
#else
  return false;
#endif
}

}  // namespace shardreel::testing
