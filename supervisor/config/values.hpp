// The values that are more than a number, a time, a size or a word: how each is set and shown for its row of the table.
//
// A set_ function takes the texts of one option and answers what is allowed where they are wrong, else nothing; a
// refused value may be set in part, since a refusal ends the program. A show_ function never shows a secret.

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "supervisor/config/config.hpp"

namespace bulkhead::config {

using Texts = std::vector<std::string>;

/// A whole number and nothing else.
std::optional<std::int64_t> parse_integer(std::string_view text);

/// The texts with commas between.
std::string join(const Texts& texts);

/// Whether only this machine can reach the address.
bool is_local(std::string_view listen);

std::string set_dispatch_window(Config& config, const Texts& texts);
std::string show_dispatch_window(const Config& config);
std::string set_retry_on(Config& config, const Texts& texts);
std::string set_retry_backoff(Config& config, const Texts& texts);
std::string show_retry_backoff(const Config& config);
std::string set_gpus(Config& config, const Texts& texts);
std::string show_gpus(const Config& config);
std::string set_preload(Config& config, const Texts& texts);
std::string set_worker_env(Config& config, const Texts& texts);
std::string show_worker_env(const Config& config);
std::string set_listen(Config& config, const Texts& texts);
std::string set_metrics_listen(Config& config, const Texts& texts);
std::string set_rate_limit(Config& config, const Texts& texts);
std::string show_rate_limits(const Config& config);
std::string set_endpoint_id(Config& config, const Texts& texts);
std::string set_state_dir(Config& config, const Texts& texts);
std::string add_keys(Config& config, const Texts& lines);
std::string set_api_key_file(Config& config, const Texts& texts);
std::string show_api_keys(const Config& config);
std::string set_webhook_secret(Config& config, const Texts& texts);
std::string set_webhook_secret_file(Config& config, const Texts& texts);
std::string show_webhook_secret(const Config& config);

}  // namespace bulkhead::config
