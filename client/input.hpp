// What is submitted: from the argument, a file or standard input to the body of a request.

#pragma once

#include <string>
#include <variant>

#include "client/options.hpp"

namespace bulkhead::client {

/// The body, its JSON checked; or what is wrong with it. A remark that is no fault goes to `note`.
std::variant<std::string, Exit> request_body(const Options& options, std::string& note);

}  // namespace bulkhead::client
