// What the thread ranks of one group share.
#ifndef TRIREME_PARALLEL_THREAD_GROUP_H_
#define TRIREME_PARALLEL_THREAD_GROUP_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "parallel/thread_collective.h"
#include "parallel/thread_hub.h"
#include "runtime/dtype.h"

namespace trireme {

// A send or a receive. `copy` holds the bytes of a send that has completed before its receive was started.
struct ThreadTransfer : ThreadHub::Operation {
  std::string Describe() const override;

  bool is_send = false;
  int world_rank = 0;
  int world_peer = 0;
  void* data = nullptr;  // only read, for a send
  int64_t count = 0;
  DType dtype = DType::kU8;
  std::vector<char> copy;
};

// All of it is guarded by the hub's mutex, but for the ranks, which never change.
struct ThreadGroup {
  // Of one direction between two ranks (from, to): what was started on one side and not yet on the other, in
  // order.
  struct Channel {
    std::deque<std::shared_ptr<ThreadTransfer>> sends;
    std::deque<std::shared_ptr<ThreadTransfer>> receives;
  };

  std::vector<int> world_ranks;
  // Collectives that not all ranks have started, by their number in the group's order.
  std::map<uint64_t, std::shared_ptr<ThreadCollective>> collectives;
  std::map<std::pair<int, int>, Channel> channels;
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_THREAD_GROUP_H_
