#include "checkpoint/manifest_merge.h"

#include <glog/logging.h>

#include <map>

#include "absl/strings/str_cat.h"
#include "checkpoint/manifest_check.h"

namespace trireme {
namespace {

struct Merged {
  manifest::Manifest manifest;
  std::map<std::string, int> tensor_of_name;
  std::map<std::string, std::string> target_of_alias;
};

// Adds a writer's part of a tensor. Returns its place in the manifest.
absl::StatusOr<int> MergeTensor(const manifest::Tensor& part, int rank, Merged* merged) {
  const auto [place, is_new] = merged->tensor_of_name.emplace(part.name(), merged->manifest.tensors_size());
  if (is_new) {
    *merged->manifest.add_tensors() = part;
    return place->second;
  }
  manifest::Tensor* tensor = merged->manifest.mutable_tensors(place->second);
  if (tensor->dtype() != part.dtype() || !(ShapeOf(*tensor) == ShapeOf(part))) {
    return absl::InternalError(
        absl::StrCat("tensor \"", part.name(), "\" is ", part.dtype(), ShapeOf(part).ToString(), " on rank ",
                     rank, " and ", tensor->dtype(), ShapeOf(*tensor).ToString(), " on a rank before it"));
  }
  tensor->set_content_digest(tensor->content_digest() + part.content_digest());
  return place->second;
}

absl::Status MergeReport(manifest::WriterReport* report, int rank, Merged* merged) {
  std::vector<int> places;
  for (const manifest::Tensor& part : report->tensors()) {
    absl::StatusOr<int> place = MergeTensor(part, rank, merged);
    if (!place.ok()) return place.status();
    places.push_back(*place);
  }
  for (manifest::File& file : *report->mutable_files()) {
    for (manifest::Slice& slice : *file.mutable_slices()) slice.set_tensor(places[slice.tensor()]);
    merged->manifest.add_files()->Swap(&file);
  }
  for (const manifest::Alias& alias : report->aliases()) {
    const auto [place, is_new] = merged->target_of_alias.emplace(alias.name(), alias.target());
    if (place->second != alias.target()) {
      return absl::InternalError(absl::StrCat("alias \"", alias.name(), "\" is of \"", alias.target(),
                                              "\" on rank ", rank, " and of \"", place->second,
                                              "\" on a rank before it"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<manifest::Manifest> MergeReports(const std::vector<std::string>& reports,
                                                const CheckpointState& state, uint64_t sequence) {
  Merged merged;
  merged.manifest.set_format_version(kManifestVersion);
  merged.manifest.set_sequence(sequence);
  StateToManifest(state, &merged.manifest);
  for (size_t rank = 0; rank < reports.size(); ++rank) {
    manifest::WriterReport report;
    CHECK(report.ParseFromString(reports[rank])) << "report of rank " << rank;
    if (absl::Status status = MergeReport(&report, static_cast<int>(rank), &merged); !status.ok())
      return status;
  }
  for (const auto& [name, target] : merged.target_of_alias) {
    manifest::Alias* alias = merged.manifest.add_aliases();
    alias->set_name(name);
    alias->set_target(target);
  }
  if (absl::Status status = CheckManifest(merged.manifest); !status.ok()) {
    return absl::InternalError(
        absl::StrCat("what the ranks gave to save does not fit together: ", status.message()));
  }
  return std::move(merged.manifest);
}

}  // namespace trireme
