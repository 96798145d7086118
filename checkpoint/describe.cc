#include "checkpoint/describe.h"

#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "checkpoint/hugging_face.h"
#include "checkpoint/reader.h"
#include "checkpoint/run_directory.h"

namespace trireme {
namespace {

std::string DescribeTensors(const TensorReader& reader) {
  std::string text;
  int64_t elements = 0;
  int64_t bytes = 0;
  for (const TensorInfo& tensor : reader.tensors()) elements += tensor.shape.num_elements();
  for (const StoredFile& file : reader.files()) bytes += file.bytes;
  absl::StrAppendFormat(&text, "%d tensors, %d elements, in %d files of together %.1f MiB\n",
                        reader.tensors().size(), elements, reader.files().size(),
                        static_cast<double>(bytes) / (1 << 20));
  for (const TensorInfo& tensor : reader.tensors()) {
    absl::StrAppendFormat(
        &text, "  %-4s %-16s %s%s\n", Name(tensor.dtype), tensor.shape.ToString(), tensor.name,
        tensor.content_digest.has_value() ? absl::StrFormat("  digest %016x", *tensor.content_digest) : "");
  }
  for (const TensorAlias& alias : reader.aliases())
    absl::StrAppend(&text, "  ", alias.name, " is ", alias.target, "\n");
  for (const auto& [name, reason] : reader.unreadable())
    absl::StrAppend(&text, "  ", name, ": ", reason, "\n");
  return text;
}

std::string DescribeState(const CheckpointReader& reader) {
  const CheckpointState& state = reader.state();
  std::string text = absl::StrCat("checkpoint ", reader.directory(), "\n");
  absl::StrAppend(&text, "  run ", state.run_id, ", save ", reader.record().sequence, " of it, step ",
                  state.step, ", ", state.tokens_seen, " tokens seen\n");
  absl::StrAppend(&text, "  ", state.applied_updates, " updates applied, ", state.skipped_steps,
                  " steps skipped, seed ", state.seed, "\n");
  absl::StrAppend(&text, "  written by mesh ", state.mesh, "\n");
  absl::StrAppend(&text, "  config ", state.config_digest, ", tokenizer ", state.tokenizer_digest,
                  ", dataset ", state.dataset_digest, "\n");
  for (const SourcePosition& position : state.positions) {
    absl::StrAppend(&text, "  source ", position.source, ": ", position.samples, " samples taken\n");
  }
  return text;
}

std::string DescribeRun(const RunCheckpoints& run) {
  std::string text = "complete checkpoints of the run, oldest first:\n";
  for (const CommitRecord& record : run.complete) {
    const bool is_latest = run.latest.has_value() && record == *run.latest;
    absl::StrAppend(&text, "  ", record.directory, is_latest ? "  <- LATEST" : "", "\n");
  }
  if (!run.ignored.empty()) absl::StrAppend(&text, "ignored:\n  ", absl::StrJoin(run.ignored, "\n  "), "\n");
  return text;
}

absl::StatusOr<std::string> DescribeReader(std::string text, TensorReader& reader, bool verify) {
  absl::StrAppend(&text, DescribeTensors(reader));
  if (!verify) return text;
  if (absl::Status status = reader.VerifyAll(); !status.ok()) return status;
  return absl::StrCat(text, "every byte was read and fits\n");
}

}  // namespace

absl::StatusOr<std::string> DescribeCheckpoint(const std::string& path, bool verify, Storage& storage) {
  absl::StatusOr<std::unique_ptr<CheckpointReader>> reader = CheckpointReader::Open(path, storage);
  if (absl::IsNotFound(reader.status())) {
    absl::StatusOr<TensorReader> plain = OpenSafetensors(path, storage);
    if (absl::IsNotFound(plain.status())) return reader.status();
    if (!plain.ok()) return plain.status();
    return DescribeReader(absl::StrCat("safetensors files at ", path, "\n"), *plain, verify);
  }
  if (!reader.ok()) return reader.status();
  std::string text = DescribeState(**reader);
  absl::StatusOr<RunCheckpoints> run = ListCheckpoints(path, storage);
  if (run.ok() && !run->complete.empty()) text += DescribeRun(*run);
  return DescribeReader(std::move(text), (*reader)->tensors(), verify);
}

}  // namespace trireme
