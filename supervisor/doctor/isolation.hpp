// What keeps one handler process from the others and from us, and what tells how it died.

#pragma once

#include "supervisor/doctor/finding.hpp"

namespace bulkhead::doctor {

/// Tries each mechanism; takes some milliseconds. Leaves nothing behind.
Section isolation();
Section evidence();

}  // namespace bulkhead::doctor
