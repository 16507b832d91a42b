#include "supervisor/fingerprint.hpp"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>
#include <stdexcept>

namespace bulkhead {
namespace {

/// Path, size and time of the regular file that `path` leads to; empty when there is none.
std::string identity_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) return {};
  return path + ' ' + std::to_string(status.st_size) + ' ' + std::to_string(status.st_mtim.tv_sec) + '.' +
         std::to_string(status.st_mtim.tv_nsec);
}

/// The same of a program as execvp finds it.
std::string identity_of_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return identity_of(name);
  const char* path = std::getenv("PATH");
  for (std::string_view left = path != nullptr ? path : ""; !left.empty();) {
    const std::string_view folder = left.substr(0, left.find(':'));
    left.remove_prefix(std::min(folder.size() + 1, left.size()));
    if (std::string found = identity_of(std::string(folder) + '/' + name); !found.empty()) return found;
  }
  return {};
}

}  // namespace

std::string fingerprint(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
    throw std::runtime_error("SHA-256 is not to be had from libcrypto");
  std::string text;
  for (unsigned i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

std::string build_of(const std::vector<std::string>& command) {
  std::string all;
  for (std::size_t word = 0; word < command.size(); ++word)
    all += command[word] + '\n' + (word == 0 ? identity_of_program(command[0]) : identity_of(command[word])) + '\n';
  return fingerprint(all);
}

}  // namespace bulkhead
