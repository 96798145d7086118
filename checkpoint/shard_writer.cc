#include "checkpoint/shard_writer.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/checksum.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/strided.h"

namespace trireme {
namespace {

constexpr int64_t kWriteChunkBytes = int64_t{1} << 20;

// A tensor of the file to be: a box of one of ours, put together from slices.
struct Entry {
  int tensor = 0;  // in the report
  DType dtype = DType::kF32;
  Shape global_shape;
  Box box;
  std::vector<const TensorSlice*> sources;
};

class ChecksummedFile {
 public:
  explicit ChecksummedFile(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}

  absl::Status Append(absl::string_view bytes) {
    for (absl::string_view rest = bytes; !rest.empty();) {
      const int64_t in_block = bytes_ % kChecksumBlockBytes;
      if (in_block == 0) checksums_.push_back(0);
      const absl::string_view part = rest.substr(0, kChecksumBlockBytes - in_block);
      checksums_.back() = Crc32c(part, checksums_.back());
      bytes_ += static_cast<int64_t>(part.size());
      rest.remove_prefix(part.size());
    }
    return file_->Append(bytes);
  }

  absl::Status SyncAndClose() {
    if (absl::Status status = file_->Sync(); !status.ok()) return status;
    return file_->Close();
  }

  int64_t bytes() const { return bytes_; }
  const std::vector<uint32_t>& checksums() const { return checksums_; }

 private:
  std::unique_ptr<WritableFile> file_;
  int64_t bytes_ = 0;
  std::vector<uint32_t> checksums_;
};

void CheckSlice(const TensorSlice& slice, const TensorSlice& first) {
  CHECK(slice.dtype == first.dtype && slice.global_shape == first.global_shape)
      << slice.name << " is given as " << Name(slice.dtype) << slice.global_shape.ToString() << " and as "
      << Name(first.dtype) << first.global_shape.ToString();
  CHECK_EQ(slice.box.num_dims, slice.global_shape.num_dims()) << slice.name;
  CHECK(Contains(WholeBox(slice.global_shape), slice.box))
      << slice.name << ": box " << slice.box.ToString() << " of " << slice.global_shape.ToString();
}

// Whether the slices make the whole tensor.
bool IsWhole(const Shape& shape, const std::vector<const TensorSlice*>& slices) {
  int64_t volume = 0;
  std::vector<Box> boxes;
  for (const TensorSlice* slice : slices) {
    volume += slice->box.volume();
    boxes.push_back(slice->box);
  }
  return volume == shape.num_elements() && CoversOnce(shape, boxes).ok();
}

// The entries of both files. Wider elements come first, so that every element is aligned in the file.
std::vector<Entry> PlanEntries(absl::Span<const TensorSlice> slices, manifest::WriterReport* report) {
  std::map<std::string, int> tensor_of_name;
  std::vector<std::vector<const TensorSlice*>> slices_of_tensor;
  for (const TensorSlice& slice : slices) {
    if (slice.box.empty()) continue;
    const auto [place, is_new] =
        tensor_of_name.emplace(slice.name, static_cast<int>(slices_of_tensor.size()));
    if (is_new) {
      slices_of_tensor.emplace_back();
      manifest::Tensor* tensor = report->add_tensors();
      tensor->set_name(slice.name);
      tensor->set_dtype(Name(slice.dtype));
      for (int d = 0; d < slice.global_shape.num_dims(); ++d) tensor->add_shape(slice.global_shape[d]);
    }
    std::vector<const TensorSlice*>& same = slices_of_tensor[place->second];
    same.push_back(&slice);
    CheckSlice(slice, *same[0]);
  }
  std::vector<Entry> entries;
  for (int t = 0; t < report->tensors_size(); ++t) {
    const std::vector<const TensorSlice*>& same = slices_of_tensor[t];
    const Entry common = {.tensor = t,
                          .dtype = same[0]->dtype,
                          .global_shape = same[0]->global_shape,
                          .box = {},
                          .sources = {}};
    if (IsWhole(common.global_shape, same)) {
      entries.push_back(common);
      entries.back().box = WholeBox(common.global_shape);
      entries.back().sources = same;
      continue;
    }
    for (const TensorSlice* slice : same) {
      entries.push_back(common);
      entries.back().box = slice->box;
      entries.back().sources = {slice};
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return SizeOf(a.dtype) > SizeOf(b.dtype); });
  return entries;
}

// Writes the entry row-major, a chunk at a time. Returns its content digest.
absl::StatusOr<uint64_t> WriteEntry(const Entry& entry, std::string* buffer, ChecksummedFile* file) {
  const int64_t size = SizeOf(entry.dtype);
  const int64_t volume = entry.box.volume();
  const int64_t chunk = kWriteChunkBytes / size;
  uint64_t digest = 0;
  for (int64_t begin = 0; begin < volume; begin += chunk) {
    const int64_t end = std::min(volume, begin + chunk);
    int64_t done = 0;
    for (const Box& box : BoxesOfRange(entry.box, begin, end)) {
      const Strided to = RowMajor(buffer->data() + done * size, entry.dtype, box);
      done += box.volume();
      for (const TensorSlice* source : entry.sources) {
        const Box region = Intersect(box, source->box);
        if (region.empty()) continue;
        const absl::Status copied = CopyRegion(region, ViewOf(*source), to);
        CHECK(copied.ok()) << copied;
      }
      digest += DigestOf(to, entry.global_shape);
    }
    if (absl::Status status = file->Append(absl::string_view(buffer->data(), done * size)); !status.ok())
      return status;
  }
  return digest;
}

absl::Status WriteFile(absl::Span<const Entry> entries, const std::string& directory, manifest::File* file,
                       manifest::WriterReport* report, Storage& storage) {
  std::vector<SafetensorsTensor> tensors;
  for (const Entry& entry : entries) {
    const std::string& name = report->tensors(entry.tensor).name();
    tensors.push_back({StoredName(name, entry.global_shape, entry.box), entry.dtype, entry.box.shape()});
  }
  absl::StatusOr<std::unique_ptr<WritableFile>> created =
      storage.CreateExclusive(absl::StrCat(directory, "/", file->name()));
  if (!created.ok()) return created.status();
  ChecksummedFile out(*std::move(created));
  if (absl::Status status = out.Append(SafetensorsPrologue(tensors)); !status.ok()) return status;
  std::string buffer(kWriteChunkBytes, '\0');
  for (const Entry& entry : entries) {
    manifest::Slice* slice = file->add_slices();
    slice->set_tensor(entry.tensor);
    slice->set_offset(out.bytes());
    for (int d = 0; d < entry.box.num_dims; ++d) {
      slice->add_begin(entry.box.begin[d]);
      slice->add_end(entry.box.end[d]);
    }
    absl::StatusOr<uint64_t> digest = WriteEntry(entry, &buffer, &out);
    if (!digest.ok()) return digest.status();
    manifest::Tensor* tensor = report->mutable_tensors(entry.tensor);
    tensor->set_content_digest(tensor->content_digest() + *digest);
  }
  file->set_bytes(out.bytes());
  file->mutable_crc32c()->Add(out.checksums().begin(), out.checksums().end());
  return out.SyncAndClose();
}

}  // namespace

absl::StatusOr<manifest::WriterReport> WriteShard(absl::Span<const TensorSlice> slices, int rank,
                                                  const std::string& directory, Storage& storage) {
  manifest::WriterReport report;
  const std::vector<Entry> entries = PlanEntries(slices, &report);
  for (const bool optimizer : {false, true}) {
    std::vector<Entry> chosen;
    for (const Entry& entry : entries) {
      if (absl::StartsWith(report.tensors(entry.tensor).name(), kOptimizerPrefix) == optimizer)
        chosen.push_back(entry);
    }
    if (chosen.empty()) continue;
    manifest::File* file = report.add_files();
    file->set_name(absl::StrFormat("w%05d%s.safetensors", rank, optimizer ? ".optimizer" : ""));
    file->set_writer(rank);
    if (absl::Status status = WriteFile(chosen, directory, file, &report, storage); !status.ok())
      return status;
  }
  return report;
}

}  // namespace trireme
