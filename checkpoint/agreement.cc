#include "checkpoint/agreement.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace trireme {

absl::Status AgreeOnStatus(const absl::Status& mine, Communicator& world) {
  const int64_t code = mine.raw_code();
  std::vector<int64_t> codes(world.size());
  world.AllGather(&code, codes.data(), 1, DType::kI64);
  for (int rank = 0; rank < world.size(); ++rank) {
    if (codes[rank] == 0) continue;
    std::string message(mine.message());
    BroadcastBytes(&message, rank, world);
    return absl::Status(static_cast<absl::StatusCode>(codes[rank]),
                        world.size() == 1 ? message : absl::StrCat("rank ", rank, ": ", message));
  }
  return absl::OkStatus();
}

void BroadcastBytes(std::string* bytes, int root, Communicator& world) {
  auto size = static_cast<int64_t>(bytes->size());
  world.Broadcast(&size, 1, DType::kI64, root);
  bytes->resize(size);
  if (size > 0) world.Broadcast(bytes->data(), size, DType::kU8, root);
}

std::vector<std::string> GatherBytes(const std::string& mine, Communicator& world) {
  const auto size = static_cast<int64_t>(mine.size());
  std::vector<int64_t> sizes(world.size());
  world.AllGather(&size, sizes.data(), 1, DType::kI64);
  if (world.rank() != 0) {
    if (size > 0) world.Wait(world.StartSend(mine.data(), size, DType::kU8, 0));
    return {};
  }
  std::vector<std::string> all(world.size());
  all[0] = mine;
  for (int rank = 1; rank < world.size(); ++rank) {
    all[rank].resize(sizes[rank]);
    if (sizes[rank] > 0) world.Wait(world.StartReceive(all[rank].data(), sizes[rank], DType::kU8, rank));
  }
  return all;
}

}  // namespace trireme
