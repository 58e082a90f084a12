#pragma once
// A stand-in for the CUDA runtime on machines without a GPU, linked before the real one. A checker
// rather than an emulator:
// - device memory is host memory: poisoned, counted for each virtual device, checked for bounds;
// - streams are threads: copies and kernels run later, so that a buffer used again too early gives
//   wrong data here, and a report under ThreadSanitizer;
// - a copy from pageable memory is taken at the call, one from pinned memory when the stream gets
//   there, as on a GPU;
// - kernels do not run by themselves: a test gives each one a host body.
// A call of the runtime that is not faked pulls in the real runtime and does not link: add it.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace fakecuda {

struct Options {
  int devices = 2;
  std::uint64_t memory_bytes = std::uint64_t{1} << 30;  ///< of each device
  unsigned delay_us = 0;  ///< every piece of work begins after up to so long
};

/// Begin anew: no failures, no misuse. Throws when something of the time before still lives.
void configure(const Options& options);
/// Every call fails with this code, as on a machine where the runtime cannot start; cudaSuccess
/// takes it back.
void fail_everything(cudaError_t code);
/// The `nth` allocation from now on (1 = the next) fails, once; 0 takes that back.
void fail_allocation(std::uint64_t nth);
/// While on, streams begin nothing.
void pause(bool on);
/// Device blocks, pinned blocks, streams, events and pools that are still there.
std::size_t live();
/// Bytes of the pinned blocks among them.
std::uint64_t pinned_bytes();
/// Free all of these, as the end of the process does.
void abandon();
/// What was called against the rules, and forget it.
std::vector<std::string> take_misuse();

/// Given a launch, copy its arguments and return the work.
using KernelBody = std::function<std::function<void()>(dim3 grid, dim3 block, void** arguments)>;
void set_kernel(const std::string& mangled_name, KernelBody body);

}  // namespace fakecuda
