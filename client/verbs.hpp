// Each command is one function: it asks, prints, and turns what became of it into the exit code. What Endpoint says on the
// way goes to standard error.

#pragma once

#include <string_view>

#include "client/connection.hpp"
#include "client/options.hpp"

namespace bulkhead::client {

// jobs.cpp
int submit(const Options& options);
int status(const Options& options);
int stream(const Options& options);
int cancel(const Options& options);
int retry(const Options& options);
int purge(const Options& options);

// looking.cpp
int health(const Options& options);
int ps(const Options& options);
int logs(const Options& options);
// top.cpp
int top(const Options& options);

// steering.cpp
int drain(const Options& options);
int scale(const Options& options);
int upgrade(const Options& options);
int dead(const Options& options);

/// When to give up: --timeout, or a minute; a day where a job is waited for, never where somebody only looks.
Clock::time_point deadline_of(const Options& options);

/// A table of the attempts of a job, a JSON array as in /status; nothing when there is none.
void print_attempts(std::string_view attempts);

}  // namespace bulkhead::client
