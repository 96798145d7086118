// Groups of threads that hold a row of a matrix in their registers, one or several groups a block: lane i of
// a group holds vectors i, i + threads, ... of the row.
#ifndef TRIREME_RUNTIME_CUDA_ROW_GROUPS_H_
#define TRIREME_RUNTIME_CUDA_ROW_GROUPS_H_

#include <algorithm>
#include <cstdint>

#include "runtime/cuda/gpu.h"

namespace trireme {

inline constexpr int kMaxGroupThreads = 512;

// The groups of a launch: whole warps, as many as a row needs at `elements` a thread.
struct RowGroups {
  RowGroups(int64_t cols, int elements, int target_threads)
      : threads(static_cast<int>(CeilDiv<int64_t>(CeilDiv<int64_t>(cols, elements), kWarpSize)) * kWarpSize),
        groups(std::max(1, target_threads / threads)) {}
  // Whether a row fits into a block's registers at all.
  static bool Fit(int64_t cols, int elements) { return cols <= int64_t{kMaxGroupThreads} * elements; }
  int block() const { return threads * groups; }

  int threads;
  int groups;  // of a block
};

// Where a thread stands, given the threads of a group.
struct RowLane {
  GPU_FN explicit RowLane(int group_threads)
      : threads(group_threads),
        group(static_cast<int>(threadIdx.x) / group_threads),
        groups(static_cast<int>(blockDim.x) / group_threads),
        lane(static_cast<int>(threadIdx.x) - group * group_threads) {}
  int threads;
  int group;   // of the block
  int groups;  // in the block
  int lane;    // in the group
};

// The sum over the group of each of the N values, in every thread of it the same bits. All threads of the
// block take part.
template <int N>
GPU_FN void GroupSum(const RowLane& self, float (&values)[N]) {
  SMEM(float, of_warps, [N][kMaxWarps]);
#pragma unroll
  for (int i = 0; i < N; ++i) values[i] = WarpSum(values[i]);
  const int num_warps = self.threads / kWarpSize;
  if (GPU_BRANCH(one_warp, num_warps == 1)) return;  // the same in all threads of the block
  __syncthreads();                                   // the readers of an earlier sum are done
  if (LaneId() == 0) {
#pragma unroll
    for (int i = 0; i < N; ++i) of_warps[i][WarpId()] = values[i];
  }
  __syncthreads();
  const int first = self.group * num_warps;
#pragma unroll
  for (int i = 0; i < N; ++i)
    values[i] = WarpSum(LaneId() < num_warps ? of_warps[i][first + LaneId()] : 0.0f);
}
GPU_FN float GroupSum(const RowLane& self, float value) {
  float values[1] = {value};
  GroupSum(self, values);
  return values[0];
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CUDA_ROW_GROUPS_H_
