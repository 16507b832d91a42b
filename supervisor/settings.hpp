// What each part is told, from the one configuration.

#pragma once

#include "supervisor/config/config.hpp"
#include "supervisor/http/server.hpp"
#include "supervisor/job/dispatcher.hpp"
#include "supervisor/journal/store.hpp"
#include "supervisor/pool/options.hpp"
#include "supervisor/source/embedded_queue.hpp"
#include "supervisor/source/runpod.hpp"
#include "supervisor/source/webhooks.hpp"

namespace bulkhead::settings {

journal::Options journal(const config::Config& config);
/// What a job's policy is that says nothing.
Policy policy(const config::Config& config);
DispatcherOptions dispatcher(const config::Config& config);
EmbeddedQueueOptions queue(const config::Config& config);
WebhookOptions webhooks(const config::Config& config);
/// Of a platform's jobs that bring none.
Policy platform_policy(const config::Config& config);
RunPodOptions runpod(const config::Config& config, RunPodSettings platform);
http::Options http(const config::Config& config);
/// A name for a worker whom nobody gave one: random, in the form of a UUID.
std::string fresh_id();
/// The name under which a service manager keeps our sockets.
inline constexpr char kKeptName[] = "bulkhead";
/// Whether somebody else, such as a socket unit, holds the sockets we listen on.
bool sockets_are_somebody_s();
/// Makes the runtime directory and the cookie of the state directory. Throws std::system_error.
/// `first_run`: the first number no run has had.
pool::Options pool(const config::Config& config, RunNumber first_run);

}  // namespace bulkhead::settings
