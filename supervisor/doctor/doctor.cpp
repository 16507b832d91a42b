#include "supervisor/doctor/doctor.hpp"

#include <unistd.h>

#include <boost/json.hpp>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "supervisor/doctor/isolation.hpp"
#include "supervisor/doctor/resources.hpp"

namespace bulkhead::doctor {

const char* to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::Ok: return "ok";
    case Verdict::Limited: return "limited";
    case Verdict::Missing: return "missing";
    case Verdict::Broken: return "broken";
  }
  return "";
}

namespace {

constexpr std::size_t kColumns = 100;
constexpr std::size_t kSubject = 18;
constexpr std::size_t kText = 2 + 9 + kSubject;

const char* colour_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::Ok: return "\033[32m";
    case Verdict::Broken: return "\033[31m";
    default: return "\033[33m";
  }
}

/// Words in lines of kColumns, the second and later ones below the first.
std::string wrapped(std::string_view text) {
  std::string out;
  std::size_t column = kText;
  while (!text.empty()) {
    std::size_t end = std::min(text.find(' '), text.size());
    if (column != kText && column + 1 + end > kColumns) {
      out.append("\n").append(kText, ' ');
      column = kText;
    } else if (column != kText) {
      out += ' ';
      ++column;
    }
    out.append(text.substr(0, end));
    column += end;
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return out;
}

void print(const Finding& finding, bool colours) {
  const char* verdict = to_string(finding.verdict);
  std::printf("  %s%-9s%s%-*s%s\n", colours ? colour_of(finding.verdict) : "", verdict, colours ? "\033[0m" : "",
              static_cast<int>(kSubject), finding.subject.c_str(), wrapped(finding.found).c_str());
  const std::string indent(kText, ' ');
  if (!finding.cost.empty()) std::printf("%s%s\n", indent.c_str(), wrapped("cost: " + finding.cost).c_str());
  if (!finding.way_out.empty()) std::printf("%s%s\n", indent.c_str(), wrapped("do: " + finding.way_out).c_str());
}

boost::json::object to_json(const std::vector<Section>& sections, bool runs) {
  boost::json::array findings;
  for (const Section& section : sections)
    for (const Finding& finding : section.findings)
      findings.push_back({{"section", section.name},
                          {"subject", finding.subject},
                          {"verdict", to_string(finding.verdict)},
                          {"found", finding.found},
                          {"cost", finding.cost},
                          {"way_out", finding.way_out}});
  return {{"place", place()}, {"runs", runs}, {"findings", std::move(findings)}};
}

}  // namespace

int examine(const Request& request) {
  std::vector<Section> sections{isolation(), evidence(), resources(), storage(request.state_dir),
                                surroundings(request.listen)};
  std::size_t broken = 0, less = 0;
  for (const Section& section : sections)
    for (const Finding& finding : section.findings) {
      if (finding.verdict == Verdict::Broken) ++broken;
      if (finding.verdict == Verdict::Limited || finding.verdict == Verdict::Missing) ++less;
    }
  if (request.json) {
    std::printf("%s\n", boost::json::serialize(to_json(sections, broken == 0)).c_str());
  } else {
    bool colours = isatty(STDOUT_FILENO) == 1;
    std::printf("%s\n", place().c_str());
    for (const Section& section : sections) {
      std::printf("\n%s\n", section.name.c_str());
      for (const Finding& finding : section.findings) print(finding, colours);
    }
    if (broken > 0) {
      std::printf("\nBulkhead does not run like this: %zu broken, %zu limited or missing.\n", broken, less);
    } else if (less > 0) {
      std::printf("\nBulkhead runs here; %zu things are limited or missing.\n", less);
    } else {
      std::printf("\nBulkhead runs here, and nothing is missing.\n");
    }
  }
  return broken == 0 ? 0 : 1;
}

}  // namespace bulkhead::doctor
