#include "configs/load.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "configs/defaults.h"
#include "configs/errors.h"
#include "configs/fields.h"
#include "configs/validate.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace trireme {
namespace {

constexpr int64_t kMaxFileBytes = 1 << 20;
// A Config is two levels deep; the parser recurses for each level, so a hostile file must not choose the
// depth.
constexpr int kMaxDepth = 8;

std::string InQuotes(absl::string_view text, absl::string_view before, size_t* position) {
  const size_t begin = text.find(before, *position);
  if (begin == absl::string_view::npos) return "";
  const size_t end = text.find('"', begin + before.size());
  if (end == absl::string_view::npos) return "";
  *position = end;
  return std::string(text.substr(begin + before.size(), end - begin - before.size()));
}

// Takes the parser's reports: the error that stopped it, and the unknown fields that did not.
class Reports : public google::protobuf::io::ErrorCollector {
 public:
  Reports(const std::string& text, const std::string& name)
      : lines_(absl::StrSplit(text, '\n')), name_(name) {}

  void AddError(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    if (!syntax_error_.empty()) return;
    syntax_error_ = absl::StrCat(Place(line, column), ": ", message);
    absl::StrAppend(&syntax_error_, "; in: ", Excerpt(line, column));
  }

  void AddWarning(int line, google::protobuf::io::ColumnNumber column, const std::string& message) override {
    size_t position = 0;
    const std::string type = InQuotes(message, "Message type \"", &position);
    const std::string field = InQuotes(message, "no field named \"", &position);
    const auto* group = google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(type);
    if (group == nullptr || field.empty()) {
      unknown_.AddLine(absl::StrCat(Place(line, column), ": ", message));
      return;
    }
    // The parser stands behind the name by now; point at the name.
    const size_t start = Line(line).substr(0, column).rfind(field);
    const std::string path = GroupPath(type);
    unknown_.AddLine(absl::StrCat(Place(line, start == std::string::npos ? column : static_cast<int>(start)),
                                  ": ", path, path.empty() ? "" : ".", field, ": no such field; ",
                                  SuggestFields(*group, path, field)));
  }

  const std::string& syntax_error() const { return syntax_error_; }
  const ConfigErrors& unknown() const { return unknown_; }

 private:
  // Lines and columns are counted from 0 by the parser, from 1 by people.
  std::string Place(int line, int column) const {
    return absl::StrCat(name_, ":", line + 1, ":", column + 1);
  }
  std::string Line(int line) const {
    return line >= 0 && line < static_cast<int>(lines_.size()) ? lines_[line] : "";
  }

  // The part of a line around a column, on one line whatever its bytes.
  std::string Excerpt(int line, int column) const {
    constexpr int kBefore = 60;
    constexpr int kBytes = 120;
    const std::string whole = Line(line);
    const size_t begin = std::min<size_t>(whole.size(), std::max(0, column - kBefore));
    std::string part(absl::StripAsciiWhitespace(absl::string_view(whole).substr(begin, kBytes)));
    std::replace_if(part.begin(), part.end(), absl::ascii_iscntrl, '?');
    return part;
  }

  std::vector<std::string> lines_;
  std::string name_;
  std::string syntax_error_;
  ConfigErrors unknown_;
};

void ApplyOverride(const std::string& override_text, Config* config, ConfigErrors* errors) {
  const size_t equals = override_text.find('=');
  if (equals == std::string::npos) {
    errors->AddLine(absl::StrCat("--set ", absl::Utf8SafeCEscape(override_text),
                                 ": no '='; write it as field=value, for example train.steps=100"));
    return;
  }
  const std::string path = override_text.substr(0, equals);
  const std::string value = override_text.substr(equals + 1);
  const absl::Status status = SetField(config, path, value);
  if (!status.ok()) errors->Add(path, value, status.message());
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    const std::string message = absl::StrCat(path, ": cannot open the configuration: ", std::strerror(errno),
                                             "; give --config the path of a .textproto file");
    return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file; give a .textproto file"));
  }
  if (info.st_size > kMaxFileBytes) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", info.st_size,
                                                   " bytes, but a configuration has at most ", kMaxFileBytes,
                                                   "; give a .textproto file"));
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return absl::InvalidArgumentError(absl::StrCat(path, ": cannot be read; check its permissions"));
  return text.str();
}

}  // namespace

absl::StatusOr<Config> ParseConfig(const std::string& text, const std::string& name,
                                   absl::Span<const std::string> overrides,
                                   absl::Span<const absl::string_view> also_required) {
  Config config;
  Reports reports(text, name);
  google::protobuf::TextFormat::Parser parser;
  parser.RecordErrorsTo(&reports);
  parser.AllowUnknownField(true);
  parser.SetRecursionLimit(kMaxDepth);
  if (!parser.ParseFromString(text, &config)) return absl::InvalidArgumentError(reports.syntax_error());

  ConfigErrors errors = reports.unknown();
  for (const std::string& override_text : overrides) ApplyOverride(override_text, &config, &errors);
  FillDefaults(&config);
  CollectErrors(config, &errors);
  for (absl::string_view field : also_required) {
    if (errors.Has(field) || !TextAt(config, field).empty()) continue;
    errors.Add(field, IsSet(config, field) ? "" : "unset", "required for training; set it to a path");
  }
  const absl::Status status = errors.ToStatus();
  if (!status.ok()) return status;
  return config;
}

absl::StatusOr<Config> LoadConfig(const std::string& path, absl::Span<const std::string> overrides,
                                  absl::Span<const absl::string_view> also_required) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  return ParseConfig(*text, path, overrides, also_required);
}

}  // namespace trireme
