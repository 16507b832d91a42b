// A real workload: text out of images, with Tesseract.
//
// The engine is loaded once, before the first job, and serves all jobs of this process. A job has any number of images,
// an image any number of pages. After each page the job reports progress and saves a checkpoint, so that an attempt that
// comes after a crash goes on with the page that crashed instead of the first.

#include <leptonica/allheaders.h>
#include <tesseract/baseapi.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <bulkhead/bulkhead.hpp>

using bulkhead::Job, bulkhead::Json;

namespace {

struct PixDeleter {
  void operator()(Pix* pix) const { pixDestroy(&pix); }
};
using Image = std::unique_ptr<Pix, PixDeleter>;

std::string decode_base64(std::string_view text) {
  std::string bytes;
  std::uint32_t bits = 0;
  int have = 0;
  for (const char c : text) {
    if (c == '=' || c == '\n' || c == '\r') continue;
    const int value = c >= 'A' && c <= 'Z'   ? c - 'A'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 26
                      : c >= '0' && c <= '9' ? c - '0' + 52
                      : c == '+' || c == '-' ? 62
                      : c == '/' || c == '_' ? 63
                                             : -1;
    if (value < 0) throw bulkhead::Error("the image is not base64");
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if ((have += 6) >= 8) bytes.push_back(static_cast<char>(bits >> (have -= 8) & 0xFF));
  }
  return bytes;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  if (!file || !(bytes << file.rdbuf())) throw bulkhead::Error("cannot read " + path);
  return std::move(bytes).str();
}

/// The pages of one image file. A TIFF may have several.
std::vector<Image> pages_of(const std::string& bytes) {
  const auto* data = reinterpret_cast<const l_uint8*>(bytes.data());
  std::vector<Image> pages;
  if (bytes.starts_with("II*") || bytes.starts_with("MM")) {
    std::size_t offset = 0;
    do pages.emplace_back(pixReadMemFromMultipageTiff(data, bytes.size(), &offset));
    while (offset != 0 && pages.back());
  } else {
    pages.emplace_back(pixReadMem(data, bytes.size()));
  }
  for (const Image& page : pages)
    if (!page) throw bulkhead::Error("not an image that can be read (PNG, JPEG and TIFF can)");
  return pages;
}

/// All pages a job has: `image` (base64) or `path`, each one or several.
std::vector<Image> pages_of(const Json& input) {
  std::vector<std::string> files;
  auto each = [](const Json& value, auto take) {
    if (const auto* array = value.if_array())
      for (const Json& element : *array) take(std::string(element.as_string()));
    else
      take(std::string(value.as_string()));
  };
  if (const Json* image = input.as_object().if_contains("image"))
    each(*image, [&](const std::string& text) { files.push_back(decode_base64(text)); });
  if (const Json* path = input.as_object().if_contains("path"))
    each(*path, [&](const std::string& name) { files.push_back(read_file(name)); });
  if (files.empty()) throw bulkhead::Error("the input needs an image (base64) or a path");
  std::vector<Image> pages;
  for (const std::string& file : files)
    for (Image& page : pages_of(file)) pages.push_back(std::move(page));
  return pages;
}

class Reader {
 public:
  explicit Reader(const char* language) {
    // Several processes share the machine: one thread each is what does most work in all.
    setenv("OMP_THREAD_LIMIT", "1", 0);
    if (engine_.Init(nullptr, language) != 0)
      throw std::runtime_error(std::string("Tesseract has no data for the language ") + language);
  }

  /// The text of one page, each word with its confidence (0 to 100) and its box in pixels.
  boost::json::object read(Pix* page) {
    engine_.SetImage(page);
    if (engine_.GetSourceYResolution() < 70) engine_.SetSourceResolution(150);
    if (engine_.Recognize(nullptr) != 0) throw bulkhead::Error("the page cannot be read");
    boost::json::array words;
    const std::unique_ptr<tesseract::ResultIterator> word(engine_.GetIterator());
    constexpr auto kWord = tesseract::RIL_WORD;
    if (word != nullptr && !word->Empty(kWord)) {
      do {
        const std::unique_ptr<char[]> text(word->GetUTF8Text(kWord));
        int left = 0, top = 0, right = 0, bottom = 0;
        if (text == nullptr || !word->BoundingBox(kWord, &left, &top, &right, &bottom)) continue;
        words.push_back({{"text", text.get()},
                         {"confidence", std::round(word->Confidence(kWord) * 10.0) / 10.0},
                         {"box", {left, top, right - left, bottom - top}}});
      } while (word->Next(kWord));
    }
    const std::unique_ptr<char[]> text(engine_.GetUTF8Text());
    boost::json::object result{{"text", text.get()}, {"confidence", engine_.MeanTextConf()}, {"words", words}};
    engine_.Clear();
    return result;
  }

 private:
  tesseract::TessBaseAPI engine_;
};

/// A defect on request, to show what becomes of a job whose handler has one.
void crash_if_asked(const Json& input, std::size_t page) {
  volatile int* volatile nowhere = nullptr;  // volatile twice: else the compiler may leave the write out
  const Json* asked = input.as_object().if_contains("crash_on_page");
  if (asked != nullptr && asked->to_number<std::size_t>() == page) *nowhere = 1;
}

Json recognise(Reader& reader, Job& job) {
  const std::vector<Image> pages = pages_of(job.input());
  boost::json::array done;
  if (const auto saved = job.checkpoint()) done = saved->as_array();
  while (done.size() < pages.size()) {
    if (job.stop_token().stop_requested())
      return {{"error", "stopped after " + std::to_string(done.size()) + " pages"}};
    crash_if_asked(job.input(), done.size() + 1);
    done.push_back(reader.read(pages[done.size()].get()));
    job.progress({{"page", done.size()}, {"of", pages.size()}});
    if (done.size() < pages.size()) job.save_checkpoint(done);
  }
  std::string text;
  std::int64_t confidence = 0;
  for (const Json& page : done) {
    text += page.at("text").as_string();
    confidence += page.at("confidence").as_int64();
  }
  return {{"text", text}, {"confidence", confidence / static_cast<std::int64_t>(done.size())}, {"pages", done}};
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const char* language = std::getenv("OCR_LANGUAGE");
    Reader reader(language == nullptr ? "eng" : language);
    return bulkhead::start({.handler = [&](Job& job) { return recognise(reader, job); }}, argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ocr: %s\n", error.what());
    return 1;
  }
}
