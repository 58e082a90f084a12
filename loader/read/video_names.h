#pragma once
// Field names that say that a video is in the field, though it may be in no list.

#include <string>
#include <string_view>
#include <vector>

namespace shardreel {

/// Whether the last part of a field's name is an extension of videos.
bool names_a_video(std::string_view field);

/// Whether it says so of files that hold a single picture more often: they are a sample's video
/// only where nothing else is, and beside a video they are fields like others.
bool names_a_picture(std::string_view field);

/// What would take a video out of the field `field` of the sample `key`, which `video_fields`
/// lacks: the option with a value to paste, and how WebDataset's rule for names made that field.
std::string how_to_take(std::string_view key, std::string_view field);

/// `fields` as the option `video_fields` takes them in JSON and Python.
std::string video_fields_text(const std::vector<std::string>& fields);

}  // namespace shardreel
