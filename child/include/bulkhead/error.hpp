// How a handler says that a job failed, and how an exception that escapes it is told.

#pragma once

#include <unistd.h>

#include <cxxabi.h>
#include <cstdlib>
#include <exception>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>

#include "bulkhead/bulkhead.h"
#include "bulkhead/json.hpp"

namespace bulkhead {

/// Throw it to fail a job with exactly this `error`, of any JSON type; any other exception is described in a JSON string
/// of its type and message. `refresh_worker` asks for a clean child after the job.
class Error : public std::exception {
 public:
  explicit Error(Json what_failed, bool wants_refresh = false)
      : error(std::move(what_failed)), refresh_worker(wants_refresh), text_(boost::json::serialize(error)) {}
  /// Error({{"code", 7}}): an object in braces.
  Error(std::initializer_list<boost::json::value_ref> what_failed, bool wants_refresh = false)
      : Error(Json(what_failed), wants_refresh) {}
  template <sdk::ConvertedJson T>
  explicit Error(const T& what_failed, bool wants_refresh = false) : Error(sdk::to_json(what_failed), wants_refresh) {}
  const char* what() const noexcept override { return text_.c_str(); }

  Json error;
  bool refresh_worker;

 private:
  std::string text_;
};

namespace sdk {

/// Who reports a failure.
struct Identity {
  std::string hostname;
  std::string worker_id;

  static Identity of_this_process() {
    auto variable = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value == nullptr ? "" : value);
    };
    Identity who{variable("RUNPOD_POD_HOSTNAME"), variable("BULKHEAD_WORKER_ID")};
    if (char name[256] = {}; who.hostname.empty() && gethostname(name, sizeof name - 1) == 0) who.hostname = name;
    if (who.worker_id.empty()) who.worker_id = "local";
    return who;
  }
};

inline std::string demangled(const std::type_info& type) {
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                   &std::free);
  return status == 0 ? name.get() : type.name();
}

/// An exception in words.
struct Description {
  std::string type;
  std::string message;
  /// The chain of causes (std::throw_with_nested). C++ keeps no record of where an exception was thrown: what a catch
  /// could print is the stack of the catch, which says nothing, so no stack is claimed.
  std::string causes;
};

/// Call it inside a catch block only.
inline Description describe_current_exception() {
  Description description;
  const std::type_info* type = abi::__cxa_current_exception_type();
  description.type = type == nullptr ? "unknown" : demangled(*type);
  try {
    throw;
  } catch (const std::exception& error) {
    description.message = valid_utf8(error.what());
    try {
      std::rethrow_if_nested(error);
    } catch (...) {
      const Description cause = describe_current_exception();
      description.causes = "\n  caused by " + cause.type + ": " + cause.message + cause.causes;
    }
  } catch (const std::string& text) {
    description.message = valid_utf8(text);
  } catch (const char* text) {
    description.message = text == nullptr ? "" : valid_utf8(text);
  } catch (int number) {
    description.message = std::to_string(number);
  } catch (...) {
    description.message = "an object of type " + description.type + " was thrown";
  }
  return description;
}

/// The text clients know from an exception: an object of these six keys, itself written into a JSON string.
inline std::string failure_text(const Identity& who, const std::string& type, const std::string& message,
                                const std::string& traceback) {
  const boost::json::object record{{"error_type", type},           {"error_message", message},
                                   {"error_traceback", traceback}, {"hostname", who.hostname},
                                   {"worker_id", who.worker_id},   {"bulkhead_version", bh_version()}};
  return to_string_literal(to_text(record, "error"));
}

inline std::string failure_text(const Identity& who, const Description& description) {
  return failure_text(who, description.type, description.message,
                      description.type + ": " + description.message + description.causes);
}

}  // namespace sdk
}  // namespace bulkhead
