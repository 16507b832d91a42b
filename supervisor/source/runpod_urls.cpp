#include "supervisor/source/runpod_urls.hpp"

#include <algorithm>

namespace bulkhead {
namespace {

/// Bytes of job ids in a ping: proxies refuse URLs beyond 8 KiB.
constexpr std::size_t kPingIdsMax = 6 << 10;
constexpr std::size_t kReasonMax = 256;  // runpod-python cuts there

/// What may not stand in a URL's path or value is escaped; an id as the platform makes them is left as it is.
std::string escaped(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (char c : text) {
    bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
                 c == '.' || c == '~' || c == ':';
    if (plain) {
      out += c;
    } else {
      auto byte = static_cast<unsigned char>(c);
      ((out += '%') += kHex[byte >> 4]) += kHex[byte & 15];
    }
  }
  return out;
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}

/// The official worker appends "&k=v" to whatever the template is; here one without a '?' gets that first.
void append(std::string& url, std::string_view parameter) {
  if (url.find('?') == std::string::npos)
    url += '?';
  else if (url.back() != '?' && url.back() != '&')
    url += '&';
  url += parameter;
}

std::string host_of(std::string_view url) {
  std::size_t begin = url.find("://");
  url.remove_prefix(begin == std::string_view::npos ? 0 : begin + 3);
  url = url.substr(0, url.find_first_of("/?#"));
  std::size_t at = url.rfind('@');
  return std::string(at == std::string_view::npos ? url : url.substr(at + 1));
}

}  // namespace

RunPodUrls::RunPodUrls(const RunPodSettings& settings) {
  constexpr std::string_view kTake = "/job-take/";
  std::string worker = escaped(settings.worker_id);
  auto of_worker = [&](const std::string& text) { return replaced(text, "$RUNPOD_POD_ID", worker); };
  take_ = replaced(of_worker(settings.take), "$ID", worker);
  if (take_.find(kTake) != std::string::npos) {
    batch_ = replaced(take_, kTake, "/job-take-batch/");
    stop_ = replaced(take_, kTake, "/job-stop/");
  }
  output_ = of_worker(settings.output);
  stream_ = of_worker(settings.stream);
  ping_ = of_worker(settings.ping);
  host_ = host_of(take_);
}

std::string RunPodUrls::take(int jobs, bool job_in_progress) const {
  std::string url = jobs > 1 ? batch_ : take_;
  if (jobs > 1) append(url, "batch_size=" + std::to_string(jobs));
  append(url, job_in_progress ? "job_in_progress=1" : "job_in_progress=0");
  return url;
}

std::optional<std::string> RunPodUrls::stop() const {
  if (stop_.empty()) return {};
  return stop_;
}

std::string RunPodUrls::result(std::string_view job_id, bool streamed) const {
  std::string url = replaced(output_, "$ID", escaped(job_id));
  append(url, streamed ? "isStream=true" : "isStream=false");
  return url;
}

std::string RunPodUrls::chunk(std::string_view job_id) const {
  std::string url = replaced(stream_, "$ID", escaped(job_id));
  append(url, "isStream=false");
  return url;
}

std::string RunPodUrls::ping(std::span<const std::string_view> jobs) const {
  if (ping_.empty()) return {};
  std::string url = ping_, ids;
  for (std::string_view job : jobs) {
    std::string id = escaped(job);
    if (ids.size() + id.size() > kPingIdsMax) break;
    ids.append(ids.empty() ? "" : "%2C").append(id);
  }
  if (!ids.empty()) append(url, "job_id=" + ids);
  append(url, "runpod_version=" + std::string(kRunPodVersion));
  return url;
}

std::string RunPodUrls::unhealthy(std::string_view check, std::string_view reason) const {
  if (ping_.empty()) return {};
  std::string url = ping_;
  append(url, "status=unhealthy");
  append(url, "check=" + escaped(check));
  append(url, "reason=" + escaped(reason.substr(0, kReasonMax)));
  append(url, "runpod_version=" + std::string(kRunPodVersion));
  return url;
}

}  // namespace bulkhead
