#include "data/token_source.h"

#include <glog/logging.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "data/checked_text.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

std::string SourcePath(const std::string& directory) {
  return absl::StrCat(directory, "/", kSourceFileName);
}

absl::Status NoSource(const std::string& directory) {
  std::error_code error;
  if (!fs::exists(directory, error)) return absl::NotFoundError(absl::StrCat(directory, ": does not exist"));
  if (fs::exists(SourcePath(directory + "/train"), error)) {
    return absl::NotFoundError(absl::StrCat(directory, ": holds the sources ", directory, "/train and ",
                                            directory, "/validation: name one of them"));
  }
  return absl::NotFoundError(absl::StrCat(directory, ": holds no ", kSourceFileName,
                                          ", so no token source; `trireme prepare` makes one"));
}

// "00042.tokens": nothing that leaves the folder.
bool IsShardName(absl::string_view name) {
  return absl::ConsumeSuffix(&name, ".tokens") && !name.empty() &&
         std::all_of(name.begin(), name.end(), [](char c) { return absl::ascii_isdigit(c); });
}

}  // namespace

absl::StatusOr<std::shared_ptr<const TokenSource>> TokenSource::Open(const std::string& directory) {
  const std::string path = SourcePath(directory);
  const auto lines = ReadCheckedText(path, kSourceTitle);
  if (absl::IsNotFound(lines.status())) return NoSource(directory);
  if (!lines.ok()) return lines.status();
  std::shared_ptr<TokenSource> source(new TokenSource);
  source->directory_ = directory;
  std::string text;
  for (const auto& words : *lines) absl::StrAppend(&text, absl::StrJoin(words, " "), "\n");
  source->digest_ = DigestOf(text);
  if (absl::Status status = source->OpenShards(*lines); !status.ok()) return status;
  if (absl::Status status = source->RefuseSurplusShards(); !status.ok()) return status;
  return source;
}

absl::Status TokenSource::OpenShards(const std::vector<std::vector<std::string>>& lines) {
  int64_t tokens = -1;
  int64_t documents = -1;
  for (const std::vector<std::string>& words : lines) {
    absl::Status status = absl::OkStatus();
    if (words[0] == "shard") status = OpenShard(words);
    if (words[0] == "tokens" && (words.size() != 2 || !absl::SimpleAtoi(words[1], &tokens))) tokens = -1;
    if (words[0] == "documents" && (words.size() != 2 || !absl::SimpleAtoi(words[1], &documents)))
      documents = -1;
    if (!status.ok()) return status;
  }
  return CheckTotals(tokens, documents);
}

absl::Status TokenSource::OpenShard(const std::vector<std::string>& words) {
  const std::string list = SourcePath(directory_);
  int64_t tokens = 0;
  int64_t documents = 0;
  if (words.size() != 5 || !IsShardName(words[1]) || !absl::SimpleAtoi(words[2], &tokens) ||
      !absl::SimpleAtoi(words[3], &documents)) {
    return absl::InvalidArgumentError(
        absl::StrCat(list, ": cannot read \"", absl::StrJoin(words, " "), "\""));
  }
  const std::string path = absl::StrCat(directory_, "/", words[1]);
  if (!files_.empty() && path <= files_.back()->path()) {
    return absl::InvalidArgumentError(absl::StrCat(list, ": ", words[1], " is not in order"));
  }
  absl::StatusOr<std::unique_ptr<TokenFile>> file = TokenFile::Open(path);
  if (absl::IsNotFound(file.status())) {
    return absl::DataLossError(absl::StrCat(path, ": byte 0: the shard is missing; ", list, " names it"));
  }
  if (!file.ok()) return file.status();
  const TokenHeader& header = (*file)->header();
  if (absl::StrFormat("%08x", header.header_crc) != words[4] || header.num_tokens != tokens ||
      header.num_documents != documents) {
    return absl::DataLossError(absl::StrFormat(
        "%s: byte 124: exchanged with another shard: it has %d tokens, %d documents, checksum %08x; %s says "
        "%s",
        path, header.num_tokens, header.num_documents, header.header_crc, list, absl::StrJoin(words, " ")));
  }
  if (files_.empty()) vocabulary_ = header.vocabulary;
  if (header.vocabulary != vocabulary_) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": byte 32: another vocabulary than ", files_[0]->path()));
  }
  starts_.push_back(starts_.back() + header.num_tokens);
  num_documents_ += header.num_documents;
  files_.push_back(*std::move(file));
  return absl::OkStatus();
}

absl::Status TokenSource::CheckTotals(int64_t num_tokens, int64_t num_documents) const {
  const std::string list = SourcePath(directory_);
  if (files_.empty()) return absl::InvalidArgumentError(absl::StrCat(list, ": names no shard"));
  if (num_tokens != starts_.back() || num_documents != num_documents_) {
    return absl::DataLossError(
        absl::StrFormat("%s: the shards hold %d tokens and %d documents, the file says %d and %d", list,
                        starts_.back(), num_documents_, num_tokens, num_documents));
  }
  return absl::OkStatus();
}

absl::Status TokenSource::RefuseSurplusShards() const {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory_, error)) {
    const std::string name = entry.path().filename().string();
    if (!absl::EndsWith(name, ".tokens")) continue;
    const std::string path = absl::StrCat(directory_, "/", name);
    if (std::none_of(files_.begin(), files_.end(), [&](const auto& file) { return file->path() == path; })) {
      return absl::DataLossError(
          absl::StrCat(path, ": byte 0: the shard is not among those of ", SourcePath(directory_)));
    }
  }
  if (error) return absl::ErrnoToStatus(error.value(), absl::StrCat(directory_, ": cannot be listed"));
  return absl::OkStatus();
}

int64_t TokenSource::NumWindows(int64_t sequence_length) const {
  CHECK_GT(sequence_length, 0);
  return num_tokens() > 0 ? (num_tokens() - 1) / sequence_length : 0;
}

absl::Status TokenSource::Read(int64_t first, absl::Span<int32_t> tokens) const {
  CHECK(first >= 0 && first + static_cast<int64_t>(tokens.size()) <= num_tokens())
      << first << " + " << tokens.size() << " of " << num_tokens();
  auto file = std::upper_bound(starts_.begin(), starts_.end(), first) - starts_.begin() - 1;
  while (!tokens.empty()) {
    const int64_t count = std::min(static_cast<int64_t>(tokens.size()), starts_[file + 1] - first);
    absl::Status status = files_[file]->Read(first - starts_[file], tokens.subspan(0, count));
    if (!status.ok()) return status;
    tokens.remove_prefix(count);
    first += count;
    ++file;
  }
  return absl::OkStatus();
}

absl::Status TokenSource::Verify() const {
  for (const auto& file : files_) {
    if (absl::Status status = file->Verify(); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace trireme
