// The documents in what a user named: text files, JSONL files, folders of both.
#ifndef TRIREME_DATA_DOCUMENTS_H_
#define TRIREME_DATA_DOCUMENTS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trireme {

struct TextFile {
  std::string path;
  bool json_lines = false;  // by its name: *.jsonl
  int64_t bytes = 0;
};

struct TextFiles {
  std::vector<TextFile> files;     // in the order of the inputs; inside a folder by path
  std::vector<std::string> notes;  // what was passed over, and why
  int64_t bytes = 0;
};

// A named file is taken whatever it is called. Of a folder, every regular file below it is taken, except,
// with a note, hidden ones (name begins with "."), symbolic links and special files, and files that look
// binary (a zero byte in the first 64 KiB). Errors name the path: NotFound, InvalidArgument for a named FIFO,
// socket or device, what the system says for what cannot be read.
absl::StatusOr<TextFiles> ListTextFiles(const std::vector<std::string>& inputs);

// Gets one document, valid during the call, and the bytes of input that end with it. An error ends the
// reading.
using DocumentVisitor = std::function<absl::Status(absl::string_view text, int64_t bytes_done)>;

// Visits every document that is not empty: a text file is one, a JSONL file has one in member `json_field` of
// each line that is not blank. Errors name file and line. Needs memory for one JSONL line; text files are
// mapped.
absl::Status ForEachDocument(const TextFiles& files, const std::string& json_field,
                             const DocumentVisitor& visit);

}  // namespace trireme

#endif  // TRIREME_DATA_DOCUMENTS_H_
