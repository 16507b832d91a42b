// The file's jobs for onlookers. Belongs to the reader's connection.

#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "supervisor/job/listing.hpp"
#include "supervisor/journal/sqlite.hpp"

namespace bulkhead::journal {

class ListingQueries {
 public:
  explicit ListingQueries(Connection& connection);

  /// Looks at jobs for 20 ms at most: others wait for their answers. What has expired at `now_ms` is left out.
  JobsPage page(const JobsQuery& query, std::int64_t now_ms);
  /// `most`: bytes of an input that is still given.
  std::optional<JobRecord> record(std::string_view id, std::int64_t now_ms, std::size_t most);

 private:
  Statement page_, record_;
};

}  // namespace bulkhead::journal
