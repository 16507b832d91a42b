// What parts that speak to the outside have to report, as lines of the log.

#pragma once

#include "supervisor/observe/log.hpp"
#include "supervisor/source/runpod.hpp"
#include "supervisor/source/webhooks.hpp"

namespace bulkhead {

void tell(observe::Log& log, const WebhookNotice& notice);
void tell(observe::Log& log, const RunPodNotice& notice);

}  // namespace bulkhead
