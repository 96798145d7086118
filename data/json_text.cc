#include "data/json_text.h"

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

// Receives the events of the parser and keeps one member of the outermost object. Returning false stops the
// parser.
class TextFinder : public nlohmann::json::json_sax_t {
 public:
  explicit TextFinder(absl::string_view field) : field_(field) {}

  absl::Status error() const { return error_; }
  std::optional<std::string>& text() { return text_; }

  bool null() override { return Value("null"); }
  bool boolean(bool) override { return Value("a truth value"); }
  bool number_integer(number_integer_t) override { return Value("a number"); }
  bool number_unsigned(number_unsigned_t) override { return Value("a number"); }
  bool number_float(number_float_t, const string_t&) override { return Value("a number"); }
  bool binary(binary_t&) override { return Value("binary data"); }

  bool string(string_t& value) override {
    if (depth_ == 1 && wanted_) {
      text_ = std::move(value);
      return true;
    }
    return Value("a string");
  }

  bool start_object(size_t) override {
    if (depth_ > 0 && !Value("an object")) return false;
    ++depth_;
    return true;
  }
  bool start_array(size_t) override {
    if (!Value("an array")) return false;
    ++depth_;
    return true;
  }
  bool end_object() override { return End(); }
  bool end_array() override { return End(); }

  bool key(string_t& name) override {
    if (depth_ == 1) wanted_ = name == field_;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception& exception) override {
    error_ =
        absl::InvalidArgumentError(absl::StrCat("byte ", position, ": invalid JSON: ", exception.what()));
    return false;
  }

 private:
  bool End() {
    --depth_;
    return true;
  }

  // A value that is no text of the wanted member.
  bool Value(absl::string_view what) {
    if (depth_ == 0) {
      error_ = absl::InvalidArgumentError(absl::StrCat("is ", what, ", not an object"));
      return false;
    }
    if (depth_ == 1 && wanted_) {
      error_ = absl::InvalidArgumentError(absl::StrCat("field \"", field_, "\" is ", what, ", not a string"));
      return false;
    }
    return true;
  }

  std::string field_;
  int64_t depth_ = 0;
  bool wanted_ = false;  // the latest key of the outermost object is `field`
  std::optional<std::string> text_;
  absl::Status error_;
};

}  // namespace

absl::StatusOr<std::string> JsonText(absl::string_view line, absl::string_view field) {
  TextFinder finder(field);
  const bool whole = nlohmann::json::sax_parse(line.begin(), line.end(), &finder);
  if (!finder.error().ok()) return finder.error();
  if (!whole) return absl::InvalidArgumentError("invalid JSON");
  if (!finder.text().has_value())
    return absl::InvalidArgumentError(absl::StrCat("has no field \"", field, "\""));
  return *std::move(finder.text());
}

}  // namespace trireme
