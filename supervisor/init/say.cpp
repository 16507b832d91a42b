#include "supervisor/init/say.hpp"

#include <unistd.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace bulkhead::init {

void say(const char* format, ...) {
  constexpr char kName[] = "bulkhead-init: ";
  char line[512];
  std::memcpy(line, kName, sizeof kName);
  std::size_t used = sizeof kName - 1;
  va_list values;
  va_start(values, format);
  int size = std::vsnprintf(line + used, sizeof line - used - 1, format, values);
  va_end(values);
  if (size < 0) return;
  used +=
      static_cast<std::size_t>(size) < sizeof line - used - 1 ? static_cast<std::size_t>(size) : sizeof line - used - 2;
  line[used++] = '\n';
  // Nothing to be done if nobody reads it.
  if (write(2, line, used) < 0) return;
}

}  // namespace bulkhead::init
