#include "checkpoint/safetensors_json.h"

#include <cstddef>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

using Json = nlohmann::json;

// Reads the text for the parser and says how far it has come.
class CountingIterator {
 public:
  // The standard library's names. NOLINTBEGIN(readability-identifier-naming)
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;
  // NOLINTEND(readability-identifier-naming)

  CountingIterator(const char* at, int64_t* count) : at_(at), count_(count) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*count_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  int64_t* count_;
};

// Refuses every event; what a document may hold is overridden. The first refusal ends the parse.
class StrictHandler : public Json::json_sax_t {
 public:
  bool null() override { return Refuse("null"); }
  bool boolean(bool) override { return Refuse("true or false"); }
  bool number_integer(number_integer_t value) override { return Refuse(absl::StrCat("the number ", value)); }
  bool number_unsigned(number_unsigned_t value) override {
    return Refuse(absl::StrCat("the number ", value));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return Refuse(absl::StrCat("the number ", text.substr(0, 40)));
  }
  bool string(string_t&) override { return Refuse("a string"); }
  bool binary(binary_t&) override { return Refuse("binary data"); }
  bool start_object(std::size_t) override { return Refuse("an object"); }
  bool key(string_t&) override { return Refuse("a member"); }
  bool end_object() override { return Refuse("the end of an object"); }
  bool start_array(std::size_t) override { return Refuse("an array"); }
  bool end_array() override { return Refuse("the end of an array"); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    return Refuse(absl::StrCat("malformed JSON (", error.what(), ")"));
  }

  int64_t position = 0;  // bytes read
  std::string problem;   // of the first refusal

 protected:
  bool Refuse(const std::string& what) {
    if (problem.empty()) problem = what;
    return false;
  }
};

absl::Status Parse(absl::string_view json, int64_t base_offset, StrictHandler* handler) {
  const CountingIterator begin(json.data(), &handler->position);
  const CountingIterator end(json.data() + json.size(), &handler->position);
  if (Json::sax_parse(begin, end, handler) && handler->problem.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("byte ", base_offset + handler->position, ": ", handler->problem));
}

// {"__metadata__": {string: string, ...}, name: {"dtype": string, "shape": [count, ...], "data_offsets": [2
// counts]}}
class HeaderHandler : public StrictHandler {
 public:
  std::vector<SafetensorsJsonEntry> entries;

  bool start_object(std::size_t) override {
    if (depth_ == 2 || !field_.empty()) return Refuse(absl::StrCat("an object within ", Where()));
    if (depth_ == 1 && !in_metadata_) entries.push_back({.name = name_});
    ++depth_;
    return true;
  }

  bool key(string_t& text) override {
    if (depth_ == 1) {
      if (!names_.insert(text).second)
        return Refuse(absl::StrCat("tensor \"", text, "\" for the second time"));
      name_ = text;
      in_metadata_ = text == "__metadata__";
      fields_.clear();
      return true;
    }
    if (!fields_.insert(text).second) return Refuse(absl::StrCat("a second \"", text, "\" in ", Where()));
    if (!in_metadata_ && text != "dtype" && text != "shape" && text != "data_offsets") {
      return Refuse(absl::StrCat("unknown member \"", text, "\" in ", Where()));
    }
    field_ = text;
    metadata_value_ = in_metadata_;
    return true;
  }

  bool string(string_t& text) override {
    if (metadata_value_) return EndField();
    if (depth_ != 2 || field_ != "dtype") return Refuse(absl::StrCat("a string in ", Where()));
    entries.back().dtype_name = text;
    return EndField();
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || metadata_value_ || in_array_ || (field_ != "shape" && field_ != "data_offsets")) {
      return Refuse(absl::StrCat("an array in ", Where()));
    }
    in_array_ = true;
    return true;
  }

  bool number_unsigned(number_unsigned_t value) override {
    if (!in_array_) return Refuse(absl::StrCat("the number ", value, " in ", Where()));
    (field_ == "shape" ? entries.back().shape : entries.back().data_offsets).push_back(value);
    return true;
  }

  bool end_array() override {
    in_array_ = false;
    return EndField();
  }

  bool end_object() override {
    --depth_;
    if (depth_ == 1 && !in_metadata_) {
      entries.back().json_offset = position;
      if (fields_.size() != 3)
        return Refuse(absl::StrCat("dtype, shape or data_offsets missing in ", Where()));
      if (entries.back().data_offsets.size() != 2) {
        return Refuse(absl::StrCat("data_offsets that are no pair in ", Where()));
      }
    }
    return true;
  }

 private:
  bool EndField() {
    field_.clear();
    metadata_value_ = false;
    return true;
  }
  std::string Where() const {
    return name_.empty() ? "the header" : absl::StrCat("tensor \"", name_.substr(0, 200), "\"");
  }

  int depth_ = 0;
  bool in_metadata_ = false;
  bool metadata_value_ = false;  // a value of __metadata__ comes next
  bool in_array_ = false;
  std::string name_;
  std::string field_;  // whose value comes next
  std::set<std::string> names_;
  std::set<std::string> fields_;
};

// Takes the strings of the member "weight_map" and lets everything else pass.
class WeightMapHandler : public StrictHandler {
 public:
  std::map<std::string, std::string> files;
  bool found = false;

  bool null() override { return Skip(); }
  bool boolean(bool) override { return Skip(); }
  bool number_integer(number_integer_t) override { return Skip(); }
  bool number_unsigned(number_unsigned_t) override { return Skip(); }
  bool number_float(number_float_t, const string_t&) override { return Skip(); }
  bool string(string_t& text) override {
    if (in_map_ && depth_ == 2 && !files.emplace(name_, text).second) {
      return Refuse(absl::StrCat("tensor \"", name_, "\" for the second time"));
    }
    return true;
  }
  bool key(string_t& text) override {
    if (depth_ == 1) in_map_ = text == "weight_map";
    name_ = text;
    return true;
  }
  bool start_object(std::size_t) override {
    if (++depth_ == 2 && in_map_) found = true;
    return depth_ <= kMaxDepth || Refuse("nesting too deep");
  }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override { return start_object(0); }
  bool end_array() override { return end_object(); }

 private:
  static constexpr int kMaxDepth = 16;

  bool Skip() {
    if (in_map_ && depth_ == 2) return Refuse("a weight_map value that is no string");
    return true;
  }

  int depth_ = 0;
  bool in_map_ = false;
  std::string name_;
};

}  // namespace

absl::StatusOr<std::vector<SafetensorsJsonEntry>> ParseSafetensorsJson(absl::string_view json,
                                                                       int64_t base_offset) {
  HeaderHandler handler;
  if (absl::Status status = Parse(json, base_offset, &handler); !status.ok()) return status;
  return std::move(handler.entries);
}

absl::StatusOr<std::map<std::string, std::string>> ParseWeightMap(absl::string_view json) {
  WeightMapHandler handler;
  if (absl::Status status = Parse(json, 0, &handler); !status.ok()) return status;
  if (!handler.found) return absl::InvalidArgumentError("no member \"weight_map\"");
  return std::move(handler.files);
}

}  // namespace trireme
