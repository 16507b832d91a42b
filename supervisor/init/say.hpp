// A line on standard error, without stdio's buffers.

#pragma once

namespace bulkhead::init {

[[gnu::format(printf, 1, 2)]] void say(const char* format, ...);

}  // namespace bulkhead::init
