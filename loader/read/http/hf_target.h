#pragma once
// Files of the Hugging Face hub.

#include <memory>
#include <string>

#include "loader/read/http/aws_profile.h"
#include "loader/read/http/object_target.h"

namespace shardreel {

/// "hf://datasets/OWNER/NAME[@REVISION]/PATH" is $HF_ENDPOINT (https://huggingface.co)
/// /datasets/OWNER/NAME/resolve/REVISION/PATH, the revision "main" where none is given; without
/// "datasets/" a model's file. The token ($HF_TOKEN, else the file that the hub's own client keeps)
/// goes to the hub only: it redirects to other hosts, which do not get it.
Result<std::shared_ptr<ObjectTarget>> hf_target(const std::string& url, bool anonymous,
                                                const AwsEnvironment& environment);

/// The URL alone.
Result<std::string> hf_url(std::string_view url, const std::string& endpoint);

}  // namespace shardreel
