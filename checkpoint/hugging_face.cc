#include "checkpoint/hugging_face.h"

#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/safetensors_json.h"

namespace trireme {
namespace {

constexpr int64_t kIndexLimitBytes = int64_t{256} << 20;

// Adds what a file's header lists.
absl::Status AddFile(const std::string& path, Storage& storage, std::set<std::string>* names,
                     StoredTensors* stored) {
  absl::StatusOr<std::unique_ptr<ReadableFile>> file = storage.OpenForRead(path);
  if (!file.ok()) return file.status();
  absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader(**file, path);
  if (!header.ok()) return header.status();
  for (const SafetensorsEntry& entry : header->entries) {
    if (!names->insert(entry.name).second) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": byte ", entry.begin, ": tensor \"", entry.name, "\" is in another file too"));
    }
    const std::optional<DType> dtype = DTypeOfSafetensors(entry.dtype_name);
    if (!dtype.has_value()) {
      stored->unreadable[entry.name] =
          absl::StrCat("stored as ", entry.dtype_name, ", which is not read: convert it to F32 first");
      continue;
    }
    if (entry.dims.size() > Shape::kMaxDims) {
      stored->unreadable[entry.name] = absl::StrCat("stored with ", entry.dims.size(), " dims");
      continue;
    }
    Shape shape;
    for (const int64_t dim : entry.dims) shape.Append(dim);
    stored->slices.push_back({.tensor = static_cast<int>(stored->tensors.size()),
                              .file = static_cast<int>(stored->files.size()),
                              .box = WholeBox(shape),
                              .offset = entry.begin});
    stored->tensors.push_back({entry.name, *dtype, shape, std::nullopt});
  }
  stored->files.push_back({path, (*file)->size_bytes(), header->data_begin, {}});
  return absl::OkStatus();
}

absl::Status AddIndexed(const std::string& folder, const std::string& index_path, Storage& storage,
                        std::set<std::string>* names, StoredTensors* stored) {
  absl::StatusOr<std::string> text = ReadWholeFile(index_path, kIndexLimitBytes, storage);
  if (!text.ok()) return text.status();
  absl::StatusOr<std::map<std::string, std::string>> map = ParseWeightMap(*text);
  if (!map.ok()) return absl::InvalidArgumentError(absl::StrCat(index_path, ": ", map.status().message()));
  std::set<std::string> files;
  for (const auto& [name, file] : *map) files.insert(file);
  for (const std::string& file : files) {
    if (file.empty() || file[0] == '.' || absl::StrContains(file, "/")) {
      return absl::InvalidArgumentError(
          absl::StrCat(index_path, ": weight_map: \"", file, "\" is no file of this folder"));
    }
    if (absl::Status status = AddFile(absl::StrCat(folder, "/", file), storage, names, stored); !status.ok())
      return status;
  }
  for (const auto& [name, file] : *map) {
    if (names->count(name) == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(index_path, ": weight_map: tensor \"", name, "\" is not in ", file));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TensorReader> OpenSafetensors(const std::string& path, Storage& storage,
                                             const std::vector<TensorAlias>& aliases) {
  StoredTensors stored;
  std::set<std::string> names;
  const std::string index_path = absl::StrCat(path, "/model.safetensors.index.json");
  const bool is_file = absl::EndsWith(path, ".safetensors");
  const absl::StatusOr<bool> indexed = is_file ? false : FileExists(index_path, storage);
  if (!indexed.ok()) return indexed.status();
  const absl::Status status =
      *indexed ? AddIndexed(path, index_path, storage, &names, &stored)
               : AddFile(is_file ? path : absl::StrCat(path, "/model.safetensors"), storage, &names, &stored);
  if (!status.ok()) return status;
  for (const TensorAlias& alias : aliases) {
    if (names.count(alias.target) == 0 || stored.unreadable.count(alias.target) != 0) {
      return absl::InvalidArgumentError(absl::StrCat(path, ": tensor \"", alias.target, "\", which \"",
                                                     alias.name, "\" stands for, is not there"));
    }
    // Many files hold both copies of a tied weight: the stored one counts.
    if (names.count(alias.name) == 0) stored.aliases.push_back(alias);
  }
  return TensorReader(std::move(stored), storage);
}

}  // namespace trireme
