#pragma once
// A stand-in for NVIDIA's driver, as libcuda.so.1 and libnvcuvid.so.1 beside a test: enough for
// FFmpeg's own CUDA code to run where there is no GPU. Device memory is host memory, counted and
// poisoned. Nothing is decoded: a picture is flat, its luma the number of the picture in its
// session, so that order and surfaces used twice show.
//
// Tests load both by fake_driver_control.h.

#include <cstddef>
#include <cstdint>

extern "C" {

// --- what tests set and see (libcuda.so.1)
/// Memory of the device; what is over it is refused. No memory is in use at the beginning.
void fakedriver_set_memory(std::uint64_t bytes);
/// Sessions that may live at one time; one more is refused as out of memory.
void fakedriver_set_sessions(int most);
std::uint64_t fakedriver_memory_in_use();
int fakedriver_sessions_live();
int fakedriver_sessions_made();

// --- what the decoder's library needs of the driver's
int fakedriver_take_session();
void fakedriver_end_session();
/// Count bytes without an address: what a session takes besides the surfaces that are read.
int fakedriver_charge(std::int64_t bytes);
int fakedriver_allocate(std::size_t bytes, void** data);
int fakedriver_free(void* data);
}
