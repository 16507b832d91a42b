// Any bytes as a message from a supervisor.

#include <cstdint>

#include "decode_properties.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace bulkhead::protocol;
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  fuzz::decode_and_check<ToChild>(fuzz::read_input(bytes, false));
  return 0;
}
