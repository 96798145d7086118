#include "data/documents.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/json_text.h"
#include "data/mapped_file.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr size_t kProbeBytes = 65536;

absl::Status SystemError(const std::string& path, const std::error_code& error, absl::string_view what) {
  return absl::ErrnoToStatus(error.value(), absl::StrCat(path, ": ", what));
}

bool LooksBinary(absl::string_view bytes) {
  return absl::StrContains(bytes.substr(0, kProbeBytes), '\0');
}

// Opens the file, so that one that cannot be read is found before anything is written.
absl::Status AddFile(const std::string& path, bool was_named, TextFiles* files) {
  const absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  if (file->bytes().empty()) {
    files->notes.push_back(absl::StrCat(path, ": is empty"));
    return absl::OkStatus();
  }
  if (LooksBinary(file->bytes())) {
    if (!was_named) {
      files->notes.push_back(absl::StrCat(path, ": passed over, looks binary (it holds zero bytes)"));
      return absl::OkStatus();
    }
    files->notes.push_back(
        absl::StrCat(path, ": taken because it was named, but looks binary (it holds zero bytes)"));
  }
  const auto bytes = static_cast<int64_t>(file->bytes().size());
  files->files.push_back({path, absl::EndsWith(path, ".jsonl"), bytes});
  files->bytes += bytes;
  return absl::OkStatus();
}

absl::Status AddFolder(const std::string& folder, TextFiles* files) {
  std::error_code error;
  std::vector<std::string> paths;
  for (auto entry = fs::recursive_directory_iterator(folder, error); !error && entry != fs::end(entry);
       entry.increment(error)) {
    const std::string path = entry->path().string();
    const fs::file_type type = entry->symlink_status(error).type();
    if (error) break;
    if (absl::StartsWith(entry->path().filename().string(), ".")) {
      if (type == fs::file_type::directory) entry.disable_recursion_pending();
      files->notes.push_back(absl::StrCat(path, ": passed over, is hidden"));
    } else if (type == fs::file_type::regular) {
      paths.push_back(path);
    } else if (type != fs::file_type::directory) {
      files->notes.push_back(absl::StrCat(path, ": passed over, is no regular file"));
    }
  }
  if (error) return SystemError(folder, error, "cannot be listed");
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    if (absl::Status status = AddFile(path, /*was_named=*/false, files); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status VisitLines(const std::string& path, absl::string_view bytes, const std::string& json_field,
                        int64_t bytes_before, const DocumentVisitor& visit) {
  size_t start = 0;
  for (int64_t line_number = 1; start < bytes.size(); ++line_number) {
    const size_t end = std::min(bytes.find('\n', start), bytes.size());
    const absl::string_view line = bytes.substr(start, end - start);
    start = end + 1;
    if (line.find_first_not_of(" \t\r") == absl::string_view::npos) continue;
    const absl::StatusOr<std::string> text = JsonText(line, json_field);
    if (!text.ok()) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s:%d: %s", path, line_number, text.status().message()));
    }
    if (text->empty()) continue;
    const int64_t done = bytes_before + static_cast<int64_t>(std::min(start, bytes.size()));
    if (absl::Status status = visit(*text, done); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TextFiles> ListTextFiles(const std::vector<std::string>& inputs) {
  TextFiles files;
  for (const std::string& input : inputs) {
    std::error_code error;
    const fs::file_status found = fs::status(input, error);
    if (found.type() == fs::file_type::not_found) {
      return absl::NotFoundError(absl::StrCat("\"", input, "\": does not exist"));
    }
    if (error) return SystemError(input, error, "cannot be examined");
    absl::Status status = found.type() == fs::file_type::directory
                              ? AddFolder(input, &files)
                              : AddFile(input, /*was_named=*/true, &files);
    if (!status.ok()) return status;
  }
  return files;
}

absl::Status ForEachDocument(const TextFiles& files, const std::string& json_field,
                             const DocumentVisitor& visit) {
  int64_t bytes_before = 0;
  for (const TextFile& file : files.files) {
    const absl::StatusOr<MappedFile> mapped = MappedFile::Open(file.path);
    if (!mapped.ok()) return mapped.status();
    const absl::string_view bytes = mapped->bytes();
    absl::Status status = absl::OkStatus();
    if (file.json_lines) {
      status = VisitLines(file.path, bytes, json_field, bytes_before, visit);
    } else if (!bytes.empty()) {
      status = visit(bytes, bytes_before + file.bytes);
    }
    if (!status.ok()) return status;
    bytes_before += file.bytes;
  }
  return absl::OkStatus();
}

}  // namespace trireme
