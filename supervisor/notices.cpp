#include "supervisor/notices.hpp"

#include <string>

namespace bulkhead {

void tell(observe::Log& log, const WebhookNotice& notice) {
  using observe::Severity;
  std::string host(notice.host), reason(notice.reason);
  const observe::About about{.job_id = notice.job_id, .kind = observe::Kind::Webhook};
  switch (notice.kind) {
    case WebhookNotice::Kind::Failing:
      return log.write(Severity::Info, "webhooks to " + host + " fail (" + reason + ") and are tried again", about);
    case WebhookNotice::Kind::Working:
      return log.write(Severity::Info, "webhooks to " + host + " are taken again", about);
    case WebhookNotice::Kind::GivenUp:
      return log.write(Severity::Warn, "the webhook to " + host + " was not delivered: " + reason, about);
  }
}

void tell(observe::Log& log, const RunPodNotice& notice) {
  using Weight = RunPodNotice::Weight;
  auto severity = notice.weight == Weight::Error     ? observe::Severity::Error
                  : notice.weight == Weight::Warning ? observe::Severity::Warn
                                                     : observe::Severity::Info;
  log.write(severity, notice.text, {.job_id = notice.job_id, .kind = observe::Kind::Platform});
}

}  // namespace bulkhead
