// The file that a supervisor is executed from.
//
// It is held open, so that it can be executed again when another file has taken its name: after a crash, and where the file
// that took its place is no good.

#pragma once

namespace bulkhead::init {

class Image {
 public:
  /// What is at `path` now. Where it cannot be opened, or `path` is a name to be looked up, execute() goes by `path`.
  void open(const char* path);
  /// Holds what `other` held, which holds nothing from then on.
  void take(Image& other);
  void close();

  /// By its path, as long as that is the same file; else through the descriptor. Returns where it fails, with errno.
  void execute(char** argv) const;

 private:
  int fd_ = -1;
};

}  // namespace bulkhead::init
