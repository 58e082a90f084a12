#pragma once
// Credentials for requests: searched once, kept, and refreshed before they expire.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "loader/read/http/aws_profile.h"
#include "loader/read/http/http_client.h"
#include "loader/read/http/sigv4.h"
#include "shardreel/error.h"

namespace shardreel {

/// The search runs on a thread of its own, never on the loop's. Thread-safe.
class CredentialStore {
 public:
  using Ready = std::function<void(Result<AwsCredentials>)>;

  /// With `fixed`, those and no others.
  CredentialStore(std::weak_ptr<HttpClient> client, boost::asio::io_context& loop,
                  std::optional<AwsCredentials> fixed = {});
  CredentialStore(const CredentialStore&) = delete;
  CredentialStore& operator=(const CredentialStore&) = delete;
  ~CredentialStore();

  /// Region, endpoint and profile, from the environment and the shared files.
  [[nodiscard]] const AwsPlace& place() const noexcept;

  /// Give credentials that are good for five minutes at least, at once or later on the loop's
  /// thread. A failed search is told to who waits for it and tried again by the next.
  void get(Ready ready);

  /// Forget these credentials: the server did not take them. False when they cannot become others
  /// (from the environment) or are forgotten already too often.
  bool forget(const AwsCredentials& refused);

  /// End the search in flight; nobody is called any more.
  void close() noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the search in flight
};

}  // namespace shardreel
