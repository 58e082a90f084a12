#pragma once
// Objects of S3 and of stores that speak its language.

#include <memory>
#include <string>
#include <string_view>

#include "loader/read/http/credential_store.h"
#include "loader/read/http/object_target.h"

namespace shardreel {

struct S3Place {
  std::string endpoint;    ///< "http(s)://host[:port]"; empty = AWS's own for the region
  std::string region;      ///< what signatures are scoped to
  bool anonymous = false;  ///< ask without a signature
};

/// "s3://bucket/key", the key raw: any byte stands for itself. The bucket goes into the path where
/// an endpoint is given or its name is no host name, else into the host.
Result<HttpUrl> s3_url(std::string_view url, const S3Place& place);

/// Sign every request anew with what `store` (null: anonymous) gives.
Result<std::shared_ptr<ObjectTarget>> s3_target(const std::string& url, const S3Place& place,
                                                std::shared_ptr<CredentialStore> store);

}  // namespace shardreel
