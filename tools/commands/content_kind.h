#pragma once
// Whether a field's content is of the kind that its name says, by its first bytes.

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace shardreel::tools {

/// Whether content of this kind (of `sniff_content`) may be a video.
[[nodiscard]] bool may_be_video(std::string_view kind);

/// Name the kind of content: "mp4/mov", "webm", "png", ...; empty when the bytes tell nothing. 512
/// bytes are enough.
[[nodiscard]] std::string_view sniff_content(std::span<const std::byte> head);

/// A sentence about what is there and what the field's name promises, when both are known and
/// differ, or when the name promises a kind that always shows itself (images, gzip) and it is not
/// there. Nothing else is judged.
[[nodiscard]] std::optional<std::string> wrong_kind(std::string_view field,
                                                    std::span<const std::byte> head);

}  // namespace shardreel::tools
