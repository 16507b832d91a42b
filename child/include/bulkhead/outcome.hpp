// What a handler's values become: the rules of docs/HANDLERS-CPP.md ("Results"), as functions from values to texts.
//
// The keys `error` and `refresh_worker` of a returned object are instructions, not output; a stream follows rules of its
// own, which clients written for them rely on, oddities included.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "bulkhead/error.hpp"
#include "bulkhead/job.hpp"
#include "bulkhead/json.hpp"

namespace bulkhead::sdk {

/// How a run ended. A text is JSON, or empty where there is none.
struct Outcome {
  std::string output;
  std::string error;
  bool refresh_worker = false;
};

/// Truth as those rules mean it: null, false, 0, "", [] and {} are not.
inline bool truthy(const Json& value) {
  switch (value.kind()) {
    case boost::json::kind::null: return false;
    case boost::json::kind::bool_: return value.get_bool();
    case boost::json::kind::int64: return value.get_int64() != 0;
    case boost::json::kind::uint64: return value.get_uint64() != 0;
    case boost::json::kind::double_: return value.get_double() != 0;
    case boost::json::kind::string: return !value.get_string().empty();
    case boost::json::kind::array: return !value.get_array().empty();
    case boost::json::kind::object: return !value.get_object().empty();
  }
  return true;
}

/// The text of a chunk's `error`: a string as it is, anything else as Python's str() would show it, because that is what
/// clients of such streams have always been sent ("{'code': 3}", "True").
class PythonText {
 public:
  static std::string of(const Json& value) {
    if (value.is_string()) return std::string(std::string_view(value.get_string()));
    PythonText text;
    text.put(value, 0);
    return std::move(text.out_);
  }

 private:
  void put(const Json& value, std::size_t depth) {
    if (depth > kMaxDepth) throw NotJson("error is nested more than 1000 levels deep");
    bool first = true;
    auto separate = [&] { out_ += std::exchange(first, false) ? "" : ", "; };
    switch (value.kind()) {
      case boost::json::kind::null: out_ += "None"; return;
      case boost::json::kind::bool_: out_ += value.get_bool() ? "True" : "False"; return;
      case boost::json::kind::string: put_quoted(value.get_string()); return;
      case boost::json::kind::array:
        out_ += '[';
        for (const Json& element : value.get_array()) separate(), put(element, depth + 1);
        out_ += ']';
        return;
      case boost::json::kind::object:
        out_ += '{';
        for (const auto& member : value.get_object()) {
          separate();
          put_quoted(member.key());
          out_ += ": ";
          put(member.value(), depth + 1);
        }
        out_ += '}';
        return;
      default: Writer(out_).write(value, "error");
    }
  }

  void put_quoted(std::string_view text) {
    const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
    constexpr char kHex[] = "0123456789abcdef";
    out_ += quote;
    for (const char c : text) {
      const auto byte = static_cast<unsigned char>(c);
      if (c == quote || c == '\\')
        (out_ += '\\') += c;
      else if (c == '\n')
        out_ += "\\n";
      else if (c == '\r')
        out_ += "\\r";
      else if (c == '\t')
        out_ += "\\t";
      else if (byte < 0x20 || byte == 0x7F)
        ((out_ += "\\x") += kHex[byte >> 4]) += kHex[byte & 15];
      else
        out_ += c;
    }
    out_ += quote;
  }

  std::string out_;
};

/// A run that ended by the exception now being handled. Call it inside a catch block only.
inline Outcome failed_by_exception(const Identity& who) {
  try {
    throw;
  } catch (const Error& error) {
    Outcome outcome{{}, {}, error.refresh_worker};
    try {
      outcome.error = to_text(truthy(error.error) ? error.error : Json("bulkhead::Error without a text"), "error");
    } catch (const NotJson&) {
      outcome.error = failure_text(who, describe_current_exception());
    }
    return outcome;
  } catch (...) {
    return {{}, failure_text(who, describe_current_exception()), false};
  }
}

/// A run that was stopped before it could end by itself.
inline Outcome stopped(const Identity& who, StopReason reason) {
  const char* why = reason == StopReason::Cancel    ? "the job was cancelled"
                    : reason == StopReason::Timeout ? "executionTimeout exceeded"
                    : reason == StopReason::Drain   ? "the worker is shutting down"
                                                    : "the supervisor takes no more of this job";
  return {{}, failure_text(who, "bulkhead::Stopped", why, why), false};
}

/// What a handler returned. Throws NotJson.
inline Outcome returned(Json value) {
  Outcome outcome;
  if (boost::json::object* object = value.if_object()) {
    if (auto* refresh = object->if_contains("refresh_worker")) {
      outcome.refresh_worker = truthy(*refresh);
      object->erase("refresh_worker");
    }
    if (auto* error = object->if_contains("error")) {
      if (truthy(*error)) outcome.error = to_text(*error, "error");
      object->erase("error");
    }
    if (object->empty()) return outcome;
  }
  outcome.output = to_text(value, "output");
  return outcome;
}

inline Outcome returned(RawJson value) { return {std::move(value.text), {}, false}; }

template <class T>
Outcome returned(T value) {
  return returned(to_json(std::move(value)));
}

/// The result of a stream, chunk by chunk.
class Stream {
 public:
  Stream(const Identity& who, bool aggregate) : who_(who), aggregate_(aggregate) {}

  /// The text to send for a chunk, or nothing where the chunk reports an error, which ends the stream: the generator is
  /// abandoned and outcome() is final. Throws NotJson.
  template <class T>
  std::optional<std::string> take(T chunk) {
    std::string text;
    if constexpr (std::same_as<T, RawJson>) {
      text = std::move(chunk.text);
    } else {
      const Json value = to_json(std::move(chunk));
      if (const auto* object = value.if_object())
        if (const auto* error = object->if_contains("error"); error != nullptr && truthy(*error)) {
          end(to_string_literal(PythonText::of(*error)));
          return std::nullopt;
        }
      text = to_text(value, "chunk");
    }
    if (aggregate_) (all_ += all_.empty() ? "" : ",") += text;
    return text;
  }

  /// The stream ends with the exception now being handled; call it inside a catch block only.
  void fail() {
    try {
      throw;
    } catch (const Error&) {
      const Outcome outcome = failed_by_exception(who_);
      end(outcome.error);
      refresh_worker_ = outcome.refresh_worker;
    } catch (...) {
      const Description thrown = describe_current_exception();
      end(to_string_literal("handler: " + thrown.message + " \ntraceback: " + thrown.type + ": " + thrown.message +
                            thrown.causes));
    }
  }

  /// The supervisor did not take a chunk of `size` bytes: `status` says why.
  void refuse(int status, std::size_t size, StopReason reason) {
    if (status == BH_TOO_LARGE)
      end(failure_text(who_, "bulkhead::ChunkTooLarge",
                       "a chunk of " + std::to_string(size) + " bytes was refused: " + bh_strerror(status), ""));
    else
      end(stopped(who_, reason).error);
  }

  Outcome outcome() const {
    if (!error_.empty()) return {{}, error_, refresh_worker_};
    return {'[' + all_ + ']', {}, false};
  }

 private:
  void end(std::string error) { error_ = std::move(error); }

  const Identity& who_;
  const bool aggregate_;
  std::string all_;
  std::string error_;
  bool refresh_worker_ = false;
};

}  // namespace bulkhead::sdk
