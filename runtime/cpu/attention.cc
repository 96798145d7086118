#include "runtime/cpu/attention.h"

#include <omp.h>

#include <algorithm>

#include "runtime/cpu/attention_tasks.h"
#include "runtime/cpu/attention_tiles.h"

namespace trireme {
namespace {

constexpr int64_t kLineFloats = 16;

constexpr int64_t WholeLines(int64_t floats) {
  return (floats + kLineFloats - 1) / kLineFloats * kLineFloats;
}

// The pieces of the tokens that tasks work on, listed at the start of the workspace.
int64_t MaxTiles(int64_t tokens) {
  return tokens / kTileQueries + MaxStretches(tokens);
}
int64_t ListFloats(int64_t max_ranges) {
  return WholeLines(max_ranges * static_cast<int64_t>(sizeof(Range) / sizeof(float)));
}

int64_t WorkspaceBytesOf(int64_t max_ranges, int64_t task_floats, int num_threads) {
  return (ListFloats(max_ranges) + num_threads * WholeLines(task_floats)) *
         static_cast<int64_t>(sizeof(float));
}

using Task = void (*)(const KernelArguments&, const AttentionShape&, int64_t, Range, float*);

// Runs task for every key head and range. Which thread takes which task changes no bit.
void RunTasks(const KernelArguments& a, const AttentionShape& shape, absl::Span<const Range> ranges,
              int64_t max_ranges, int64_t task_floats, Task task) {
  float* scratch = static_cast<float*>(a.workspace) + ListFloats(max_ranges);
  const int64_t num_ranges = static_cast<int64_t>(ranges.size());
  const int64_t num_tasks = num_ranges * shape.key_heads;
  // The last tiles see the most keys: they come first, so that threads end together.
#pragma omp parallel for schedule(dynamic) num_threads(a.num_threads)
  for (int64_t i = 0; i < num_tasks; ++i) {
    task(a, shape, i % shape.key_heads, ranges[num_ranges - 1 - i / shape.key_heads],
         scratch + omp_get_thread_num() * WholeLines(task_floats));
  }
}

}  // namespace

void AttentionFast(const KernelArguments& a) {
  const AttentionShape shape(a.op, a.inputs[0].shape);
  auto* tiles = static_cast<Range*>(a.workspace);
  int64_t num_tiles = 0;
  ForStretches(a.inputs[1].as<int32_t>(), shape.tokens, [&](Range stretch) {
    for (int64_t q = stretch.begin; q < stretch.end; q += kTileQueries) {
      tiles[num_tiles++] = {q, std::min(q + kTileQueries, stretch.end)};
    }
  });
  RunTasks(a, shape, {tiles, static_cast<size_t>(num_tiles)}, MaxTiles(shape.tokens),
           AttentionTaskFloats(shape), AttentionTask);
}

int64_t AttentionFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                    int num_threads) {
  const AttentionShape shape(op, inputs[0].shape);
  return WorkspaceBytesOf(MaxTiles(shape.tokens), AttentionTaskFloats(shape), num_threads);
}

void AttentionGradFast(const KernelArguments& a) {
  const AttentionShape shape(a.op, a.inputs[1].shape);
  auto* stretches = static_cast<Range*>(a.workspace);
  int64_t num_stretches = 0;
  ForStretches(a.inputs[4].as<int32_t>(), shape.tokens,
               [&](Range stretch) { stretches[num_stretches++] = stretch; });
  RunTasks(a, shape, {stretches, static_cast<size_t>(num_stretches)}, MaxStretches(shape.tokens),
           AttentionGradTaskFloats(shape), AttentionGradTask);
}

int64_t AttentionGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                        int num_threads) {
  const AttentionShape shape(op, inputs[1].shape);
  return WorkspaceBytesOf(MaxStretches(shape.tokens), AttentionGradTaskFloats(shape), num_threads);
}

}  // namespace trireme
