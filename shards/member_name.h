#pragma once
// Which keys and fields a shard can hold.

#include <string_view>

#include "shardreel/error.h"

namespace shardreel {

/// Whether a member written for `key` and `field` reads back as both: kInvalidOption says why not.
Result<void> check_member_name(std::string_view key, std::string_view field);

}  // namespace shardreel
