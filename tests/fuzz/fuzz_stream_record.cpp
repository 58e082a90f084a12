// Any bytes are a stream's parameters or an error; what was parsed can be written and parsed again.

#include <cstdlib>
#include <string>
#include <string_view>

#include "loader/demux/stream_record.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto record = shardreel::parse_stream_record(bytes);
  if (!record) return 0;
  // Names may have aliases; what is written is the one form.
  const std::string written = shardreel::write_stream_record(*record);
  const auto again = shardreel::parse_stream_record(written);
  if (!again || shardreel::write_stream_record(*again) != written) std::abort();
  return 0;
}
