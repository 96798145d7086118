#include "checkpoint/tensor_reader.h"

#include <glog/logging.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/checksum.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/strided.h"

namespace trireme {
namespace {

constexpr int64_t kReadChunkBytes = int64_t{1} << 20;

// The last element of a box, as a box.
Box LastElement(const Box& box) {
  Box last = box;
  for (int d = 0; d < box.num_dims; ++d) last.begin[d] = box.end[d] - 1;
  return last;
}

// Reads the part of a stored slice that holds `region`, a chunk at a time, and calls use(elements) for every
// box of elements that touches the region.
template <typename Use>
absl::Status ForEachStoredBox(const StoredTensors::Slice& slice, DType dtype, const Box& region,
                              VerifiedFile& file, std::string* buffer, Use use) {
  const int64_t size = SizeOf(dtype);
  const int64_t chunk = kReadChunkBytes / size;
  const int64_t last = FlatOffset(slice.box, LastElement(region)) + 1;
  buffer->resize(kReadChunkBytes);
  for (int64_t begin = FlatOffset(slice.box, region); begin < last; begin += chunk) {
    const int64_t end = std::min(last, begin + chunk);
    const std::vector<Box> boxes = BoxesOfRange(slice.box, begin, end);
    const bool touched = std::any_of(boxes.begin(), boxes.end(),
                                     [&region](const Box& box) { return !Intersect(box, region).empty(); });
    if (!touched) continue;
    if (absl::Status status = file.Read(slice.offset + begin * size, (end - begin) * size, buffer->data());
        !status.ok()) {
      return status;
    }
    int64_t done = 0;
    for (const Box& box : boxes) {
      const Strided elements = RowMajor(buffer->data() + done * size, dtype, box);
      done += box.volume();
      if (absl::Status status = use(elements); !status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace

struct TensorReader::Piece {
  const TensorSlice* wanted;
  const StoredTensors::Slice* slice;
  Box region;
};

TensorReader::TensorReader(StoredTensors stored, Storage& storage)
    : stored_(std::move(stored)), storage_(storage) {
  slices_of_tensor_.resize(stored_.tensors.size());
  for (size_t t = 0; t < stored_.tensors.size(); ++t)
    tensor_of_name_[stored_.tensors[t].name] = static_cast<int>(t);
  for (size_t s = 0; s < stored_.slices.size(); ++s) {
    slices_of_tensor_[stored_.slices[s].tensor].push_back(static_cast<int>(s));
  }
  for (const TensorAlias& alias : stored_.aliases) {
    const auto target = tensor_of_name_.find(alias.target);
    CHECK(target != tensor_of_name_.end()) << alias.target;
    tensor_of_name_.emplace(alias.name, target->second);
  }
}

const TensorInfo* TensorReader::Find(const std::string& name) const {
  const auto place = tensor_of_name_.find(name);
  return place == tensor_of_name_.end() ? nullptr : &stored_.tensors[place->second];
}

absl::Status TensorReader::Plan(const TensorSlice& wanted, std::vector<Piece>* pieces) const {
  const auto refuse = [&wanted](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor \"", wanted.name, "\", box [", wanted.box.ToString(), "]: ", what));
  };
  const auto place = tensor_of_name_.find(wanted.name);
  if (place == tensor_of_name_.end()) {
    const auto reason = stored_.unreadable.find(wanted.name);
    return refuse(reason == stored_.unreadable.end() ? "is not stored here" : reason->second);
  }
  const TensorInfo& info = stored_.tensors[place->second];
  if (!(info.shape == wanted.global_shape)) {
    return refuse(absl::StrCat("stored with shape ", info.shape.ToString(), ", wanted with ",
                               wanted.global_shape.ToString(), ": the model is another one"));
  }
  CHECK_EQ(wanted.box.num_dims, info.shape.num_dims()) << wanted.name;
  if (!Contains(WholeBox(info.shape), wanted.box))
    return refuse(absl::StrCat("is not within ", info.shape.ToString()));
  int64_t filled = 0;
  for (const int s : slices_of_tensor_[place->second]) {
    const Box region = Intersect(stored_.slices[s].box, wanted.box);
    if (region.empty()) continue;
    filled += region.volume();
    pieces->push_back({&wanted, &stored_.slices[s], region});
  }
  if (filled != wanted.box.volume()) {
    return refuse(absl::StrCat("only ", filled, " of ", wanted.box.volume(), " elements are stored"));
  }
  return absl::OkStatus();
}

absl::Status TensorReader::LoadPiece(const Piece& piece, VerifiedFile& file, std::string* buffer) const {
  const TensorInfo& info = stored_.tensors[piece.slice->tensor];
  const Strided to = ViewOf(*piece.wanted);
  return ForEachStoredBox(*piece.slice, info.dtype, piece.region, file, buffer, [&](const Strided& elements) {
    const absl::Status status = CopyRegion(Intersect(elements.box, piece.region), elements, to);
    if (status.ok()) return status;
    return absl::Status(status.code(), absl::StrCat("tensor \"", info.name, "\": ", status.message()));
  });
}

absl::Status TensorReader::Load(absl::Span<const TensorSlice> wanted) {
  std::vector<Piece> pieces;
  for (const TensorSlice& slice : wanted) {
    if (absl::Status status = Plan(slice, &pieces); !status.ok()) return status;
  }
  // File by file, each from its start to its end.
  std::stable_sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) {
    return std::tie(a.slice->file, a.slice->offset) < std::tie(b.slice->file, b.slice->offset);
  });
  std::unique_ptr<VerifiedFile> file;
  std::string buffer;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const int number = pieces[i].slice->file;
    if (i == 0 || number != pieces[i - 1].slice->file) {
      absl::StatusOr<std::unique_ptr<VerifiedFile>> opened =
          VerifiedFile::Open(stored_.files[number], storage_);
      if (!opened.ok()) return opened.status();
      file = *std::move(opened);
    }
    if (absl::Status status = LoadPiece(pieces[i], *file, &buffer); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status TensorReader::CheckHeader(int file, const VerifiedFile& opened) const {
  const std::string& path = stored_.files[file].path;
  absl::StatusOr<SafetensorsHeader> header = ReadSafetensorsHeader(opened.raw(), path);
  if (!header.ok()) return header.status();
  std::map<int64_t, const SafetensorsEntry*> entry_at;
  for (const SafetensorsEntry& entry : header->entries) entry_at[entry.begin] = &entry;
  size_t matched = 0;
  for (const StoredTensors::Slice& slice : stored_.slices) {
    if (slice.file != file) continue;
    const TensorInfo& info = stored_.tensors[slice.tensor];
    const auto entry = entry_at.find(slice.offset);
    const std::string name = StoredName(info.name, info.shape, slice.box);
    if (entry == entry_at.end() || entry->second->name != name ||
        entry->second->dtype_name != SafetensorsName(info.dtype)) {
      return absl::DataLossError(
          absl::StrCat(path, ": byte ", slice.offset, ": the header does not have \"", name, "\" there"));
    }
    ++matched;
  }
  if (matched == header->entries.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path, ": byte 8: the header has ", header->entries.size(),
                                          " tensors, the manifest ", matched));
}

absl::Status TensorReader::VerifyFile(int file, std::vector<uint64_t>* digests) {
  const StoredFile& stored = stored_.files[file];
  absl::StatusOr<std::unique_ptr<VerifiedFile>> opened = VerifiedFile::Open(stored, storage_);
  if (!opened.ok()) return opened.status();
  std::string buffer(kReadChunkBytes, '\0');
  for (int64_t begin = 0; begin < stored.bytes; begin += kReadChunkBytes) {
    const int64_t size = std::min(kReadChunkBytes, stored.bytes - begin);
    if (absl::Status status = (*opened)->Read(begin, size, buffer.data()); !status.ok()) return status;
  }
  if (absl::Status status = CheckHeader(file, **opened); !status.ok()) return status;
  for (const StoredTensors::Slice& slice : stored_.slices) {
    if (slice.file != file) continue;
    const TensorInfo& info = stored_.tensors[slice.tensor];
    absl::Status status =
        ForEachStoredBox(slice, info.dtype, slice.box, **opened, &buffer, [&](const Strided& elements) {
          (*digests)[slice.tensor] += DigestOf(elements, info.shape);
          return absl::OkStatus();
        });
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status TensorReader::VerifyAll() {
  std::vector<uint64_t> digests(stored_.tensors.size());
  for (size_t file = 0; file < stored_.files.size(); ++file) {
    if (absl::Status status = VerifyFile(static_cast<int>(file), &digests); !status.ok()) return status;
  }
  for (size_t t = 0; t < digests.size(); ++t) {
    const TensorInfo& info = stored_.tensors[t];
    if (!info.content_digest.has_value() || *info.content_digest == digests[t]) continue;
    return absl::DataLossError(
        absl::StrFormat("tensor \"%s\": content digest %016x, saved with %016x: its bytes are whole but are "
                        "not what was saved",
                        info.name, digests[t], *info.content_digest));
  }
  return absl::OkStatus();
}

}  // namespace trireme
