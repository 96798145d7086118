#include "data/token_writer.h"

#include <fcntl.h>
#include <glog/logging.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "data/output_directory.h"

namespace trireme {

TokenWriter::TokenWriter(std::string path, int fd, const TokenVocabulary& vocabulary)
    : path_(std::move(path)), fd_(fd) {
  header_.token_bytes = TokenBytesFor(vocabulary.size);
  header_.vocabulary = vocabulary;
  block_.reserve(kTokenBlockBytes);
}

absl::StatusOr<std::unique_ptr<TokenWriter>> TokenWriter::Create(std::string path,
                                                                 const TokenVocabulary& vocabulary) {
  CHECK(vocabulary.size > 0 && vocabulary.size <= kMaxVocabSize) << vocabulary.size;
  CHECK(vocabulary.document_end >= 0 && vocabulary.document_end < vocabulary.size) << vocabulary.document_end;
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat(path, ": cannot be made"));
  return std::unique_ptr<TokenWriter>(new TokenWriter(std::move(path), fd, vocabulary));
}

TokenWriter::~TokenWriter() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(path_.c_str());
}

absl::Status TokenWriter::WriteBlock() {
  const uint32_t crc = TokenCrc32c(block_);
  table_.append(reinterpret_cast<const char*>(&crc), sizeof(crc));
  if (absl::Status status = WriteBytesAt(fd_, path_, offset_, block_); !status.ok()) return status;
  offset_ += static_cast<int64_t>(block_.size());
  block_.clear();
  return absl::OkStatus();
}

absl::Status TokenWriter::Append(absl::Span<const int32_t> tokens) {
  for (const int32_t token : tokens) {
    CHECK(token >= 0 && token < header_.vocabulary.size)
        << token << " in a vocabulary of " << header_.vocabulary.size;
    char bytes[sizeof(token)];
    std::memcpy(bytes, &token, sizeof(token));
    block_.append(bytes, header_.token_bytes);
    header_.num_documents += token == header_.vocabulary.document_end ? 1 : 0;
    if (static_cast<int64_t>(block_.size()) == kTokenBlockBytes) {
      if (absl::Status status = WriteBlock(); !status.ok()) return status;
    }
  }
  header_.num_tokens += static_cast<int64_t>(tokens.size());
  return absl::OkStatus();
}

absl::StatusOr<TokenHeader> TokenWriter::Finish() {
  CHECK_GE(fd_, 0) << "finished before";
  if (!block_.empty()) {
    if (absl::Status status = WriteBlock(); !status.ok()) return status;
  }
  if (absl::Status status = WriteBytesAt(fd_, path_, offset_, table_); !status.ok()) return status;
  header_.table_crc = TokenCrc32c(table_);
  const std::string header = SerializeTokenHeader(header_);
  if (absl::Status status = WriteBytesAt(fd_, path_, 0, header); !status.ok()) return status;
  if (fsync(fd_) != 0) return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": cannot be made durable"));
  if (close(std::exchange(fd_, -1)) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat(path_, ": cannot be closed"));
  }
  return header_;
}

}  // namespace trireme
