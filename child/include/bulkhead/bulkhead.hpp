// Bulkhead for C++ handlers: include this, call bulkhead::start.
//
//     #include <bulkhead/bulkhead.hpp>
//     using bulkhead::Job, bulkhead::Json;
//
//     Json handler(Job& job) {
//       return {{"greeting", "Hello, " + std::string(job.input().at("name").as_string())}};
//     }
//
//     int main(int argc, char** argv) {
//       return bulkhead::start({.handler = handler}, argc, argv);
//     }
//
// Link libbulkhead and libboost_json. Everything here is a header over the C ABI of bulkhead.h, compiled with the
// handler, its compiler and its Boost (1.81 or later). What is in namespace bulkhead::sdk is not for handlers.
//
//     job.hpp              Job, Level, StopReason
//     json.hpp             Json, RawJson, NotJson
//     error.hpp            Error
//     generator.hpp        Generator
//     async_generator.hpp  AsyncGenerator
//     handler.hpp          Handler: which callables are handlers
//     options.hpp          Options

#pragma once

#include <cstdio>
#include <exception>
#include <optional>
#include <utility>

#include "bulkhead/arguments.hpp"
#include "bulkhead/local.hpp"
#include "bulkhead/options.hpp"
#include "bulkhead/supervised.hpp"
#include "bulkhead/supervised_async.hpp"

namespace bulkhead {

/// Runs jobs until the supervisor says stop, or, where no supervisor started this process, one test job. Returns the exit
/// code for main, and throws nothing. Load what is expensive before calling it: set-up is over when it is called.
///
/// SIGTERM and SIGINT keep their default action: the supervisor stops its children over the connection.
inline int start(Options options, int argc = 0, const char* const* argv = nullptr) noexcept {
  try {
    const sdk::Arguments arguments = sdk::Arguments::parse(argc, argv);
    const bool supervised = bh_supervised() != 0;
    const std::optional<Level> threshold = sdk::threshold(arguments, supervised ? Level::Trace : Level::Debug);
    const sdk::Program program{std::move(options), sdk::Identity::of_this_process(), threshold.value_or(Level::Debug)};
    if (supervised) {  // the test flags are the supervisor's to act on: it gives this child the test job
      if (const sdk::AsyncDriver* driver = program.options.handler.driver()) return driver->serve(program);
      return sdk::BlockingLoop(program).run();
    }
    if (arguments.help) {
      std::fputs(sdk::kUsage, stdout);
      return 0;
    }
    if (!arguments.error.empty() || !threshold) {
      std::fprintf(stderr, "bulkhead: %s\n",
                   arguments.error.empty() ? "the log level is one of DEBUG, INFO, WARN, ERROR and NOTSET"
                                           : arguments.error.c_str());
      return 2;
    }
    if (arguments.serve_api) {
      std::fputs("bulkhead: --rp_serve_api is the supervisor's work: bulkhead serve -- ./handler\n", stderr);
      return 2;
    }
    return sdk::LocalTest(program, arguments).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bulkhead: %s\n", error.what());
  } catch (...) {
    std::fputs("bulkhead: start failed\n", stderr);
  }
  return 1;
}

}  // namespace bulkhead
