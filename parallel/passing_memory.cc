#include "parallel/passing_memory.h"

#include <algorithm>
#include <utility>

#include "runtime/passes/assign_offsets.h"
#include "runtime/passes/memory_plan.h"

namespace trireme {
namespace {

// A whole bucket's parameters or gradients, and when they are there.
struct Block {
  ValueId value;
  int64_t bytes;
  int64_t offset = 0;
  std::vector<std::vector<std::pair<int, int>>> stays = {};  // by plan: first and last entry
};

bool Meet(const Block& a, const Block& b) {
  for (size_t plan = 0; plan < a.stays.size(); ++plan) {
    for (const auto& [a_begin, a_end] : a.stays[plan]) {
      for (const auto& [b_begin, b_end] : b.stays[plan]) {
        if (a_begin <= b_end && b_begin <= a_end) return true;
      }
    }
  }
  return false;
}

}  // namespace

PassingMemory PlanPassingMemory(const UpdateProgram& update, absl::Span<const StepPlan* const> plans) {
  std::vector<Block> blocks;
  auto add = [&](ValueId value) {
    const int64_t bytes = update.program.value(value).size_bytes();
    Block block = {value, (bytes + kMemoryAlignment - 1) / kMemoryAlignment * kMemoryAlignment};
    for (const StepPlan* plan : plans) {
      block.stays.emplace_back();
      for (const StepPlan::Residence& stay : plan->residences) {
        if (plan->programs[stay.program] == &update.program && stay.value == value) {
          block.stays.back().emplace_back(stay.begin, stay.end);
        }
      }
    }
    blocks.push_back(std::move(block));
  };
  for (const UpdateProgram::BucketValues& bucket : update.buckets) {
    if (bucket.shards_gradients) add(bucket.gradients);
    if (bucket.shards_parameters) add(bucket.parameters);
  }
  std::vector<Block*> all;
  for (Block& block : blocks) all.push_back(&block);
  PassingMemory memory;
  memory.bytes = AssignOffsets(all, Meet);
  memory.offsets.resize(update.program.values.size(), PassingMemory::kNotPassing);
  for (const Block& block : blocks) memory.offsets[block.value] = block.offset;
  return memory;
}

}  // namespace trireme
