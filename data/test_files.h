// Folders, files and token sources for the tests of this folder.
#ifndef TRIREME_DATA_TEST_FILES_H_
#define TRIREME_DATA_TEST_FILES_H_

#include <glog/logging.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "data/source_writer.h"
#include "data/token_source.h"
#include "data/tokenizer.h"

namespace trireme {

// A folder that is removed with its content.
class TestFolder {
 public:
  TestFolder() {
    std::string path = ::testing::TempDir() + "/trireme-data-XXXXXX";
    CHECK(mkdtemp(path.data()) != nullptr) << path;
    path_ = path;
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  // Writes a file, and the folders it lies in; returns its path.
  std::string Write(const std::string& name, const std::string& content) const {
    const std::filesystem::path path = *this / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path.string();
  }

 private:
  std::string path_;
};

inline std::string ReadTestFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Names of all that lies in a folder, sorted.
inline std::vector<std::string> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

// A byte-tokenized source of the tokens 0, 1, ... (modulo 257), so that a token tells its place.
inline std::string WriteCountingSource(const std::string& directory, int64_t num_tokens,
                                       int64_t shard_tokens) {
  std::filesystem::create_directories(directory);
  std::vector<int32_t> tokens(num_tokens);
  for (int64_t i = 0; i < num_tokens; ++i) tokens[i] = static_cast<int32_t>(i % 257);
  SourceWriter writer(directory, MakeByteTokenizer(), shard_tokens);
  CHECK(writer.Append(tokens).ok());
  CHECK(writer.Finish().ok());
  return directory;
}

inline std::shared_ptr<const TokenSource> MustOpen(const std::string& directory) {
  auto source = TokenSource::Open(directory);
  CHECK(source.ok()) << source.status();
  return *source;
}

// The code and parts of the message of a status.
inline void ExpectError(const absl::Status& status, absl::StatusCode code,
                        const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts)
    EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr(part));
}

}  // namespace trireme

#endif  // TRIREME_DATA_TEST_FILES_H_
