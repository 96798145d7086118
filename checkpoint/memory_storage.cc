#include "checkpoint/memory_storage.h"

#include <glog/logging.h>

#include <cstring>
#include <functional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace trireme {

// What is there now, and what would be there after a power cut.
struct MemoryStorage::Node {
  using Entries = std::map<std::string, std::shared_ptr<Node>>;
  bool is_directory = false;
  std::string contents;
  std::string durable_contents;
  Entries entries;
  Entries durable_entries;
};

class MemoryWritableFile : public WritableFile {
 public:
  MemoryWritableFile(MemoryStorage* storage, std::shared_ptr<MemoryStorage::Node> node)
      : storage_(storage), node_(std::move(node)) {}

  absl::Status Append(absl::string_view bytes) override {
    std::lock_guard<std::mutex> lock(storage_->mutex_);
    if (absl::Status status = storage_->Count(); !status.ok()) return status;
    node_->contents.append(bytes.data(), bytes.size());
    return absl::OkStatus();
  }

  absl::Status Sync() override {
    std::lock_guard<std::mutex> lock(storage_->mutex_);
    if (absl::Status status = storage_->Count(); !status.ok()) return status;
    node_->durable_contents = node_->contents;
    return absl::OkStatus();
  }

  absl::Status Close() override {
    std::lock_guard<std::mutex> lock(storage_->mutex_);
    return storage_->Count();
  }

 private:
  MemoryStorage* storage_;
  std::shared_ptr<MemoryStorage::Node> node_;
};

class MemoryReadableFile : public ReadableFile {
 public:
  MemoryReadableFile(MemoryStorage* storage, std::shared_ptr<MemoryStorage::Node> node, std::string path)
      : storage_(storage),
        node_(std::move(node)),
        path_(std::move(path)),
        size_(static_cast<int64_t>(node_->contents.size())) {}

  int64_t size_bytes() const override { return size_; }

  absl::Status Read(int64_t offset, int64_t size, char* out) const override {
    std::lock_guard<std::mutex> lock(storage_->mutex_);
    if (absl::Status status = storage_->Count(); !status.ok()) return status;
    const auto length = static_cast<int64_t>(node_->contents.size());
    if (offset + size > length) {
      return absl::DataLossError(absl::StrCat(path_, ": ends at byte ", length, ", before ", offset + size));
    }
    std::memcpy(out, node_->contents.data() + offset, size);
    return absl::OkStatus();
  }

 private:
  MemoryStorage* storage_;
  std::shared_ptr<MemoryStorage::Node> node_;
  std::string path_;
  int64_t size_;
};

namespace {

std::vector<std::string> Parts(const std::string& path) {
  return absl::StrSplit(path, '/', [](absl::string_view part) { return !part.empty() && part != "."; });
}

absl::Status NotFound(const std::string& path) {
  return absl::NotFoundError(absl::StrCat(path, ": no such file or directory"));
}

}  // namespace

MemoryStorage::MemoryStorage() : root_(std::make_shared<Node>()) {
  root_->is_directory = true;
}
MemoryStorage::~MemoryStorage() = default;

absl::Status MemoryStorage::Count() {
  const int64_t n = num_operations_++;
  if (fail_at_ < 0 || n < fail_at_ || (n > fail_at_ && !fail_after_)) return absl::OkStatus();
  failed_ = true;
  return error_;
}

std::shared_ptr<MemoryStorage::Node> MemoryStorage::Find(const std::string& path) const {
  std::shared_ptr<Node> node = root_;
  for (const std::string& part : Parts(path)) {
    const auto entry = node->entries.find(part);
    if (entry == node->entries.end()) return nullptr;
    node = entry->second;
  }
  return node;
}

absl::StatusOr<std::shared_ptr<MemoryStorage::Node>> MemoryStorage::Parent(const std::string& path) const {
  const size_t slash = path.rfind('/');
  std::shared_ptr<Node> parent = slash == std::string::npos ? root_ : Find(path.substr(0, slash));
  if (parent == nullptr || !parent->is_directory) return NotFound(path);
  return parent;
}

absl::StatusOr<std::unique_ptr<WritableFile>> MemoryStorage::CreateExclusive(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  absl::StatusOr<std::shared_ptr<Node>> parent = Parent(path);
  if (!parent.ok()) return parent.status();
  if (Find(path) != nullptr) return absl::AlreadyExistsError(absl::StrCat(path, ": exists"));
  auto node = std::make_shared<Node>();
  (*parent)->entries[Parts(path).back()] = node;
  return std::make_unique<MemoryWritableFile>(this, node);
}

absl::StatusOr<std::unique_ptr<ReadableFile>> MemoryStorage::OpenForRead(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  if (node->is_directory) return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  return std::make_unique<MemoryReadableFile>(this, node, path);
}

absl::StatusOr<int64_t> MemoryStorage::FileSize(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr) return NotFound(path);
  if (node->is_directory) return absl::InvalidArgumentError(absl::StrCat(path, ": not a regular file"));
  return static_cast<int64_t>(node->contents.size());
}

absl::Status MemoryStorage::Rename(const std::string& from, const std::string& to) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  const std::shared_ptr<Node> node = Find(from);
  absl::StatusOr<std::shared_ptr<Node>> target = Parent(to);
  if (node == nullptr) return NotFound(from);
  if (!target.ok()) return target.status();
  (*Parent(from))->entries.erase(Parts(from).back());
  (*target)->entries[Parts(to).back()] = node;
  return absl::OkStatus();
}

absl::Status MemoryStorage::Delete(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr || node->is_directory) return NotFound(path);
  (*Parent(path))->entries.erase(Parts(path).back());
  return absl::OkStatus();
}

absl::Status MemoryStorage::MakeDirectory(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  absl::StatusOr<std::shared_ptr<Node>> parent = Parent(path);
  if (!parent.ok()) return parent.status();
  if (Find(path) != nullptr) return absl::AlreadyExistsError(absl::StrCat(path, ": exists"));
  auto node = std::make_shared<Node>();
  node->is_directory = true;
  (*parent)->entries[Parts(path).back()] = node;
  return absl::OkStatus();
}

absl::Status MemoryStorage::DeleteDirectory(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr || !node->is_directory) return NotFound(path);
  if (!node->entries.empty()) return absl::AlreadyExistsError(absl::StrCat(path, ": not empty"));
  (*Parent(path))->entries.erase(Parts(path).back());
  return absl::OkStatus();
}

absl::Status MemoryStorage::SyncDirectory(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr || !node->is_directory) return NotFound(path);
  node->durable_entries = node->entries;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> MemoryStorage::List(const std::string& path) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (absl::Status status = Count(); !status.ok()) return status;
  const std::shared_ptr<Node> node = Find(path);
  if (node == nullptr || !node->is_directory) return NotFound(path);
  std::vector<std::string> names;
  for (const auto& [name, entry] : node->entries) names.push_back(name);
  return names;
}

int64_t MemoryStorage::num_operations() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return num_operations_;
}

void MemoryStorage::FailOperation(int64_t n, absl::Status error, bool and_after) {
  std::lock_guard<std::mutex> lock(mutex_);
  fail_at_ = error.ok() ? -1 : num_operations_ + n;
  fail_after_ = and_after;
  failed_ = false;
  error_ = std::move(error);
}

bool MemoryStorage::failed() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failed_;
}

void MemoryStorage::CutPower() {
  std::lock_guard<std::mutex> lock(mutex_);
  const std::function<void(Node&)> restore = [&restore](Node& node) {
    node.contents = node.durable_contents;
    node.entries = node.durable_entries;
    for (const auto& [name, entry] : node.entries) restore(*entry);
  };
  restore(*root_);
}

std::string MemoryStorage::Contents(const std::string& path) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const std::shared_ptr<Node> node = Find(path);
  CHECK(node != nullptr && !node->is_directory) << path;
  return node->contents;
}

void MemoryStorage::SetContents(const std::string& path, std::string contents) {
  std::lock_guard<std::mutex> lock(mutex_);
  const std::shared_ptr<Node> node = Find(path);
  CHECK(node != nullptr && !node->is_directory) << path;
  node->contents = std::move(contents);
}

std::vector<std::string> MemoryStorage::Files() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> files;
  const std::function<void(const Node&, const std::string&)> walk = [&](const Node& node,
                                                                        const std::string& path) {
    for (const auto& [name, entry] : node.entries) {
      const std::string child = path.empty() ? name : absl::StrCat(path, "/", name);
      if (entry->is_directory) {
        walk(*entry, child);
      } else {
        files.push_back(child);
      }
    }
  };
  walk(*root_, "");
  return files;
}

}  // namespace trireme
