#include "shardreel/error.h"

#include <fmt/format.h>

namespace shardreel {

std::string_view to_string(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidOption: return "invalid_option";
    case ErrorCode::kNotFound: return "not_found";
    case ErrorCode::kIo: return "io";
    case ErrorCode::kPipeFailed: return "pipe_failed";
    case ErrorCode::kNotPermitted: return "not_permitted";
    case ErrorCode::kTruncated: return "truncated";
    case ErrorCode::kCorruptArchive: return "corrupt_archive";
    case ErrorCode::kDuplicateField: return "duplicate_field";
    case ErrorCode::kDuplicateKey: return "duplicate_key";
    case ErrorCode::kTooLarge: return "too_large";
    case ErrorCode::kMemory: return "memory";
    case ErrorCode::kNoVideo: return "no_video";
    case ErrorCode::kNotMedia: return "not_media";
    case ErrorCode::kNoVideoStream: return "no_video_stream";
    case ErrorCode::kEncrypted: return "encrypted";
    case ErrorCode::kUnsupported: return "unsupported";
    case ErrorCode::kDecodeError: return "decode_error";
    case ErrorCode::kIncompleteWindow: return "incomplete_window";
    case ErrorCode::kTooShort: return "too_short";
    case ErrorCode::kLongFrame: return "long_frame";
    case ErrorCode::kSkipRatio: return "skip_ratio";
    case ErrorCode::kEmptyEpoch: return "empty_epoch";
    case ErrorCode::kStopped: return "stopped";
    case ErrorCode::kInternal: return "internal";
  }
  return "internal";
}

std::string Error::describe() const {
  std::string place;
  if (!shard.empty()) place += "shard " + shard;
  if (!key.empty()) place += (place.empty() ? "key " : ", key ") + key;
  if (offset) place += fmt::format("{}at byte {}", place.empty() ? "" : " ", *offset);
  return place.empty() ? message : place + ": " + message;
}

Error& Error::at(std::string_view in_shard, std::string_view in_key,
                 std::optional<std::uint64_t> in_offset) {
  if (shard.empty()) shard = in_shard;
  if (key.empty()) key = in_key;
  if (!offset) offset = in_offset;
  return *this;
}

ShardreelError::ShardreelError(Error error)
    : std::runtime_error(error.describe()), error_(std::move(error)) {}

}  // namespace shardreel
