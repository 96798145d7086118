// Where every value of a program lives: an offset from its lifetime, decided once. Nothing is allocated while
// a step runs.
#ifndef TRIREME_RUNTIME_PASSES_MEMORY_PLAN_H_
#define TRIREME_RUNTIME_PASSES_MEMORY_PLAN_H_

#include <cstdint>
#include <vector>

#include "runtime/device.h"
#include "runtime/program.h"

namespace trireme {

// The kinds of memory that a value can lie in.
enum class MemoryKind : uint8_t {
  kNone,       // not used
  kBound,      // parameters, gradients, state: bound by the caller
  kSlot,       // lives from a micro-batch's forward to its backward: one copy a micro-batch in flight
  kTransient,  // lives within one region's run: shared by all micro-batches and programs
};

struct MemoryPlan {
  struct Place {
    MemoryKind kind = MemoryKind::kNone;
    int64_t offset = 0;  // bytes
  };
  std::vector<Place> places;  // of each value that is a storage (Program::StorageOf)
  // Scratch memory of each op, by segment and op, as an offset in transient memory.
  std::vector<std::vector<int64_t>> workspaces;
  int64_t slot_bytes = 0;
  int64_t transient_bytes = 0;  // values and workspaces
  int64_t workspace_bytes = 0;  // the largest workspace, contained in transient_bytes
};

inline constexpr int64_t kMemoryAlignment = 64;

// Plans `program` for `device` (which says how much scratch memory its kernels need). Values that forward
// writes and backward reads, inputs and what crosses a stage's border go to the slot; all others are
// transient and share memory where their lifetimes do not meet. An op's result takes over the storage of the
// input that it may overwrite, if nobody reads that later.
MemoryPlan PlanMemory(const Program& program, const Device& device);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_PASSES_MEMORY_PLAN_H_
