#pragma once
// The byte expressions of the conformance vectors (README.md here) as bytes.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace shardreel::testing {

/// Write out one byte expression. Throws std::runtime_error for one that the README does not know.
std::string materialise(const nlohmann::json& expression);

/// All vectors of the given kind ("archives", "names", "urls") in the folder's files, in order of
/// the file names; each has the member "file" added.
std::vector<nlohmann::json> load_vectors(const std::string& kind);

}  // namespace shardreel::testing
