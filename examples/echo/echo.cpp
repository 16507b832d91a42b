// The smallest handler: the output is the input, byte for byte.

#include <bulkhead/bulkhead.hpp>

bulkhead::RawJson handler(bulkhead::Job& job) { return {std::string(job.raw_input())}; }

int main(int argc, char** argv) { return bulkhead::start({.handler = handler}, argc, argv); }
