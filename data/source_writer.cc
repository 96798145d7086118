#include "data/source_writer.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "data/checked_text.h"
#include "data/output_directory.h"
#include "data/token_source.h"

namespace trireme {

SourceWriter::SourceWriter(std::string directory, std::shared_ptr<const Tokenizer> tokenizer,
                           int64_t shard_tokens)
    : directory_(std::move(directory)), tokenizer_(std::move(tokenizer)), shard_tokens_(shard_tokens) {
  CHECK_GT(shard_tokens_, 0);
}

absl::Status SourceWriter::OpenShard() {
  // Seven digits keep the order of names for ten million shards.
  shard_name_ = absl::StrFormat("%07d.tokens", num_shards_);
  auto shard = TokenWriter::Create(absl::StrCat(directory_, "/", shard_name_),
                                   {.size = tokenizer_->vocab_size(),
                                    .document_end = tokenizer_->document_end(),
                                    .tokenizer = tokenizer_->digest()});
  if (!shard.ok()) return shard.status();
  shard_ = *std::move(shard);
  ++num_shards_;
  return absl::OkStatus();
}

absl::Status SourceWriter::CloseShard() {
  const absl::StatusOr<TokenHeader> header = shard_->Finish();
  if (!header.ok()) return header.status();
  num_documents_ += header->num_documents;
  absl::StrAppendFormat(&shard_lines_, "shard %s %d %d %08x\n", shard_name_, header->num_tokens,
                        header->num_documents, header->header_crc);
  shard_.reset();
  return absl::OkStatus();
}

absl::Status SourceWriter::Append(absl::Span<const int32_t> tokens) {
  while (!tokens.empty()) {
    if (shard_ == nullptr) {
      if (absl::Status status = OpenShard(); !status.ok()) return status;
    }
    const int64_t count = std::min(static_cast<int64_t>(tokens.size()), shard_tokens_ - shard_->num_tokens());
    if (absl::Status status = shard_->Append(tokens.subspan(0, count)); !status.ok()) return status;
    num_tokens_ += count;
    tokens.remove_prefix(count);
    if (shard_->num_tokens() == shard_tokens_) {
      if (absl::Status status = CloseShard(); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status SourceWriter::Finish() {
  if (num_tokens_ == 0) return absl::InvalidArgumentError(absl::StrCat(directory_, ": would hold no token"));
  if (shard_ != nullptr) {
    if (absl::Status status = CloseShard(); !status.ok()) return status;
  }
  if (absl::Status status = SaveTokenizer(*tokenizer_, directory_); !status.ok()) return status;
  const std::string body = absl::StrCat(kSourceTitle, "\ntokens ", num_tokens_, "\ndocuments ",
                                        num_documents_, "\n", shard_lines_);
  return WriteNewFile(absl::StrCat(directory_, "/", kSourceFileName), WithChecksumLine(body));
}

}  // namespace trireme
