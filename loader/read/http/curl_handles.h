#pragma once
// libcurl's handles with one owner each.

#include <curl/curl.h>

#include <memory>

namespace shardreel {

struct CurlDelete {
  void operator()(CURL* handle) const noexcept { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const noexcept { curl_slist_free_all(list); }
};
using CurlEasy = std::unique_ptr<CURL, CurlDelete>;
using CurlHeaders = std::unique_ptr<curl_slist, CurlDelete>;

}  // namespace shardreel
