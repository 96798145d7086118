#include "tests/parity_golden.h"

#include <glog/logging.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

// Streams do not read hexadecimal floats.
double Number(const std::string& word) {
  size_t used = 0;
  const double number = std::stod(word, &used);
  CHECK_EQ(used, word.size()) << word;
  return number;
}

std::vector<double> RestOfLine(std::istream& line) {
  std::vector<double> numbers;
  for (std::string word; line >> word;) numbers.push_back(Number(word));
  return numbers;
}

std::vector<double> Numbers(std::istream& words, int64_t count) {
  std::vector<double> numbers;
  std::string word;
  while (numbers.size() < count && words >> word) numbers.push_back(Number(word));
  CHECK_EQ(numbers.size(), count);
  return numbers;
}

}  // namespace

ParityGolden ReadParityGolden(const std::string& name) {
  const std::string path = absl::StrCat("tests/goldens/parity_", name, ".txt");
  std::ifstream file(path);
  CHECK(file.is_open()) << path;
  ParityGolden golden;
  for (std::string text; std::getline(file, text);) {
    std::istringstream line(text);
    std::string kind, key;
    if (!(line >> kind) || kind[0] == '#') continue;
    if (kind == "gradient") {
      int step = 0;
      int64_t rows = 0, columns = 1;
      CHECK(line >> step >> key >> rows) << path << ": " << text;
      line >> columns;
      golden.gradients[step][key] = Numbers(file, rows * columns);
      continue;
    }
    CHECK(line >> key) << path << ": " << text;
    if (kind == "recipe") {
      golden.recipe = key;
    } else if (kind == "set") {
      golden.overrides.push_back(key);
    } else if (kind == "losses") {
      golden.losses[key] = RestOfLine(line);
    } else if (kind == "norms") {
      golden.norms[key] = RestOfLine(line);
    } else if (kind == "initial") {
      golden.initial_norms[key] = Numbers(line, 1)[0];
    } else {
      LOG(FATAL) << path << ": " << text;
    }
  }
  return golden;
}

}  // namespace trireme
