// The program bulkhead-symbolise: a crash file's frames and maps on stdin, lines "INDEX\tname" on stdout, innermost
// first, each written as soon as it is known, since the reader may end this program at any time. It works from the
// recorded maps and the files they name; the process itself is gone.

#include <cxxabi.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "supervisor/process/crash_file.hpp"

// A sanitizer reserves more memory than any limit allows.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define BULKHEAD_SANITIZED 1
#elif defined(__has_feature)
#define BULKHEAD_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define BULKHEAD_SANITIZED 0
#endif

namespace {

using bulkhead::process::CrashFile;

/// Private memory, mapped files included: enough for the debug information of anything, and less than a machine has.
constexpr rlim_t kMemory = rlim_t{8} << 30;

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};
struct EndDwfl {
  void operator()(Dwfl* dwfl) const { dwfl_end(dwfl); }
};
struct CloseFile {
  void operator()(FILE* file) const { std::fclose(file); }
};
using Session = std::unique_ptr<Dwfl, EndDwfl>;

std::string input() {
  std::string text;
  char buffer[16 * 1024];
  for (ssize_t got; (got = ::read(0, buffer, sizeof buffer)) > 0 && text.size() < CrashFile::kMaxBytes;)
    text.append(buffer, static_cast<std::size_t>(got));
  return text;
}

/// As a person would have written it: the names behind std::string and its like are long, and in every second frame.
std::string abbreviated(std::string name) {
  constexpr std::pair<std::string_view, std::string_view> kLong[] = {
      {"std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string"},
      {"std::basic_string_view<char, std::char_traits<char> >", "std::string_view"},
      {", std::allocator<std::string > >", ">"},
      {", std::allocator<std::string> >", ">"},
      {"std::__cxx11::", "std::"},
      {"(anonymous namespace)::", ""},
  };
  for (const auto& [from, to] : kLong)
    for (std::size_t at = name.find(from); at != std::string::npos; at = name.find(from, at + to.size()))
      name.replace(at, from.size(), to);
  return name;
}

std::string demangled(const char* name) {
  int status = 0;
  std::unique_ptr<char, Free> text(abi::__cxa_demangle(name, nullptr, nullptr, &status));
  return text ? abbreviated(text.get()) : name;
}

std::string hexadecimal(Dwarf_Addr number) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(number));
  return text;
}

std::string place(const char* file, int line) {
  if (file == nullptr || line <= 0) return "";
  return std::string(" at ") + file + ":" + std::to_string(line);
}

class Frame {
 public:
  /// A return address lies behind its call, which may be the last instruction of its line, or of its function.
  Frame(Dwfl* dwfl, Dwarf_Addr address, bool is_return)
      : address_(address), looked_up_(address - (is_return ? 1 : 0)), module_(dwfl_addrmodule(dwfl, looked_up_)) {}

  void print(std::size_t index) {
    if (module_ == nullptr) return;
    find_unit();
    const char* file = nullptr;
    int line = 0;
    if (Dwarf_Line* source = unit_ != nullptr ? dwarf_getsrc_die(unit_, looked_up_ - bias_) : nullptr) {
      file = dwarf_linesrc(source, nullptr, nullptr);
      dwarf_lineno(source, &line);
    }
    print_inlined(index, file, line);
    GElf_Off offset = 0;
    GElf_Sym symbol;
    const char* name = dwfl_module_addrinfo(module_, looked_up_, &offset, &symbol, nullptr, nullptr, nullptr);
    std::string text =
        name != nullptr ? demangled(name) + place(file, line) + " (" + where() + ")" : where() + place(file, line);
    std::printf("%zu\t%s\n", index, text.c_str());
  }

 private:
  /// The compilation unit. Clang writes no table of who has which addresses, so one may have to ask them all.
  void find_unit() {
    unit_ = dwfl_module_addrdie(module_, looked_up_, &bias_);
    if (unit_ != nullptr) return;
    while ((unit_ = dwfl_module_nextcu(module_, unit_, &bias_)) != nullptr)
      if (dwarf_haspc(unit_, looked_up_ - bias_) > 0) return;
  }

  /// One line for each function that was inlined here, innermost first; `file` and `line` become those of the call.
  void print_inlined(std::size_t index, const char*& file, int& line) {
    if (unit_ == nullptr) return;
    Dwarf_Files* files = nullptr;
    std::size_t number_of_files = 0;
    if (dwarf_getsrcfiles(unit_, &files, &number_of_files) != 0) return;
    std::vector<Dwarf_Die> scopes;
    find_scopes(*unit_, scopes, 0);
    for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope) {
      if (dwarf_tag(&*scope) != DW_TAG_inlined_subroutine) continue;
      std::printf("%zu\t%s%s (inlined)\n", index, name_of(&*scope).c_str(), place(file, line).c_str());
      Dwarf_Word call_file = number(&*scope, DW_AT_call_file);
      file = call_file < number_of_files ? dwarf_filesrc(files, call_file, nullptr, nullptr) : nullptr;
      line = static_cast<int>(number(&*scope, DW_AT_call_line));
    }
  }

  /// The function and what lies in it around the address, outermost first. libdw's own search does not look into
  /// namespaces, where Clang puts functions.
  bool find_scopes(Dwarf_Die parent, std::vector<Dwarf_Die>& scopes, int depth) const {
    constexpr int kDeep = 64;
    Dwarf_Die die;
    if (depth > kDeep || dwarf_child(&parent, &die) != 0) return false;
    do {
      switch (dwarf_tag(&die)) {
        case DW_TAG_subprogram:
        case DW_TAG_inlined_subroutine:
        case DW_TAG_lexical_block:
          if (dwarf_haspc(&die, looked_up_ - bias_) <= 0) break;
          scopes.push_back(die);
          find_scopes(die, scopes, depth + 1);
          return true;
        case DW_TAG_namespace:
        case DW_TAG_module:
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
          if (find_scopes(die, scopes, depth + 1)) return true;
          break;
        default: break;
      }
    } while (dwarf_siblingof(&die, &die) == 0);
    return false;
  }

  static Dwarf_Word number(Dwarf_Die* die, unsigned attribute) {
    Dwarf_Attribute holder;
    Dwarf_Word value = 0;
    return dwarf_formudata(dwarf_attr(die, attribute, &holder), &value) == 0 ? value : 0;
  }

  static std::string name_of(Dwarf_Die* die) {
    Dwarf_Attribute holder;
    const char* linkage = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &holder));
    if (linkage != nullptr) return demangled(linkage);
    const char* name = dwarf_diename(die);
    return name != nullptr ? name : "?";
  }

  std::string where() const {
    Dwarf_Addr start = 0;
    const char* name = dwfl_module_info(module_, nullptr, &start, nullptr, nullptr, nullptr, nullptr, nullptr);
    std::string path = name != nullptr ? name : "?";
    return path.substr(path.rfind('/') + 1) + "+" + hexadecimal(address_ - start);
  }

  Dwarf_Addr address_;
  Dwarf_Addr looked_up_;
  Dwfl_Module* module_;
  Dwarf_Die* unit_ = nullptr;
  Dwarf_Addr bias_ = 0;
};

Session open_session(std::string maps) {
  static char* debug_path = nullptr;  // the library's own default: beside the file, and /usr/lib/debug
  static const Dwfl_Callbacks callbacks{dwfl_linux_proc_find_elf, dwfl_standard_find_debuginfo, nullptr, &debug_path};
  Session session(dwfl_begin(&callbacks));
  if (!session) return nullptr;
  dwfl_report_begin(session.get());
  std::unique_ptr<FILE, CloseFile> file(::fmemopen(maps.data(), maps.size(), "r"));
  bool reported = file && dwfl_linux_proc_maps_report(session.get(), file.get()) == 0;
  if (dwfl_report_end(session.get(), nullptr, nullptr) != 0 || !reported) return nullptr;
  return session;
}

}  // namespace

int main() {
  if (!BULKHEAD_SANITIZED) {
    rlimit memory{kMemory, kMemory};
    ::setrlimit(RLIMIT_DATA, &memory);
  }
  CrashFile crash = bulkhead::process::parse_crash_file(input());
  Session session = open_session(crash.maps_text);
  if (!session) {
    std::fprintf(stderr, "cannot work with these maps: %s\n", dwfl_errmsg(-1));
    return 1;
  }
  for (std::size_t i = 0; i < crash.frames.size(); ++i) {
    Frame(session.get(), crash.frames[i], i > 0).print(i);
    std::fflush(stdout);
  }
  return 0;
}
