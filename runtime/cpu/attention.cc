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

// A call's slopes and, of a block, places: the optional inputs from `first` on.
AttentionBias BiasOf(const KernelArguments& a, size_t first) {
  if (a.inputs.size() <= first) return {};
  if (a.inputs.size() == first + 1) return {a.inputs[first].as<float>()};
  return {a.inputs[first].as<float>(), a.inputs[first + 1].as<int32_t>(), a.inputs[first + 2].as<int32_t>()};
}

using Task = void (*)(const AttentionCall&, int64_t, Range, float*);

// Runs task for every key head and range. Which thread takes which task changes no bit.
void RunTasks(const KernelArguments& a, const AttentionCall& call, absl::Span<const Range> ranges,
              int64_t max_ranges, int64_t task_floats, Task task) {
  float* scratch = static_cast<float*>(a.workspace) + ListFloats(max_ranges);
  const int64_t num_ranges = static_cast<int64_t>(ranges.size()), key_heads = call.shape.key_heads;
  const int64_t num_tasks = num_ranges * key_heads;
  // The last tiles see the most keys: they come first, so that threads end together.
#pragma omp parallel for schedule(dynamic) num_threads(a.num_threads)
  for (int64_t i = 0; i < num_tasks; ++i) {
    task(call, i % key_heads, ranges[num_ranges - 1 - i / key_heads],
         scratch + omp_get_thread_num() * WholeLines(task_floats));
  }
}

// Tiles of the queries of a stretch, behind the `count` that are there.
int64_t AddTiles(Range stretch, Range* tiles, int64_t count) {
  for (int64_t q = stretch.begin; q < stretch.end; q += kTileQueries) {
    tiles[count++] = {q, std::min(q + kTileQueries, stretch.end)};
  }
  return count;
}

void RunForward(const KernelArguments& a, const AttentionCall& call, int64_t num_tiles) {
  RunTasks(a, call, {static_cast<Range*>(a.workspace), static_cast<size_t>(num_tiles)},
           MaxTiles(call.shape.tokens), AttentionTaskFloats(call.shape), AttentionTask);
}

}  // namespace

void AttentionFast(const KernelArguments& a) {
  const AttentionCall call = {.shape = AttentionShape(a.op, a.inputs[0].shape),
                              .mask = {a.inputs[1].as<int32_t>()},
                              .bias = BiasOf(a, 2),
                              .compute = a.inputs[0].dtype,
                              .stored = a.outputs[0].dtype,
                              .queries = a.inputs[0].data,
                              .keys = a.inputs[0].data,
                              .out = a.outputs[0].data,
                              .lse = a.outputs[1].as<float>()};
  int64_t num_tiles = 0;
  ForStretches(call.mask.lo, call.shape.tokens, [&](Range stretch) {
    num_tiles = AddTiles(stretch, static_cast<Range*>(a.workspace), num_tiles);
  });
  RunForward(a, call, num_tiles);
}

int64_t AttentionFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                    int num_threads) {
  const AttentionShape shape(op, inputs[0].shape);
  return WorkspaceBytesOf(MaxTiles(shape.tokens), AttentionTaskFloats(shape), num_threads);
}

void AttentionGradFast(const KernelArguments& a) {
  const AttentionCall call = {.shape = AttentionShape(a.op, a.inputs[1].shape),
                              .mask = {a.inputs[4].as<int32_t>()},
                              .bias = BiasOf(a, 5),
                              .compute = a.inputs[1].dtype,
                              .stored = a.outputs[0].dtype,
                              .queries = a.inputs[1].data,
                              .keys = a.inputs[1].data,
                              .out = a.inputs[2].data,
                              .lse = a.inputs[3].as<float>(),
                              .dout = a.inputs[0].data,
                              .dqueries = a.outputs[0].data,
                              .dkeys = a.outputs[0].data};
  auto* stretches = static_cast<Range*>(a.workspace);
  int64_t num_stretches = 0;
  ForStretches(call.mask.lo, call.shape.tokens, [&](Range stretch) { stretches[num_stretches++] = stretch; });
  RunTasks(a, call, {stretches, static_cast<size_t>(num_stretches)}, MaxStretches(call.shape.tokens),
           AttentionGradTaskFloats(call.shape), AttentionGradTask);
}

int64_t AttentionGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                        int num_threads) {
  const AttentionShape shape(op, inputs[1].shape);
  return WorkspaceBytesOf(MaxStretches(shape.tokens), AttentionGradTaskFloats(shape), num_threads);
}

void BlockAttentionFast(const KernelArguments& a) {
  const AttentionCall call = {.shape = AttentionShape(a.op, a.inputs[0].shape, a.inputs[1].shape),
                              .mask = {a.inputs[2].as<int32_t>(), a.inputs[3].as<int32_t>()},
                              .bias = BiasOf(a, 4),
                              .compute = a.inputs[0].dtype,
                              .stored = a.outputs[0].dtype,
                              .queries = a.inputs[0].data,
                              .keys = a.inputs[1].data,
                              .out = a.outputs[0].data,
                              .lse = a.outputs[1].as<float>()};
  RunForward(a, call, AddTiles({0, call.shape.tokens}, static_cast<Range*>(a.workspace), 0));
}

int64_t BlockAttentionFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                         int num_threads) {
  const AttentionShape shape(op, inputs[0].shape, inputs[1].shape);
  return WorkspaceBytesOf(MaxTiles(shape.tokens), AttentionTaskFloats(shape), num_threads);
}

void BlockAttentionGradFast(const KernelArguments& a) {
  const AttentionCall call = {.shape = AttentionShape(a.op, a.inputs[1].shape, a.inputs[4].shape),
                              .mask = {a.inputs[5].as<int32_t>(), a.inputs[6].as<int32_t>()},
                              .bias = BiasOf(a, 7),
                              .compute = a.inputs[1].dtype,
                              .stored = a.outputs[0].dtype,
                              .queries = a.inputs[1].data,
                              .keys = a.inputs[4].data,
                              .out = a.inputs[2].data,
                              .lse = a.inputs[3].as<float>(),
                              .dout = a.inputs[0].data,
                              .dqueries = a.outputs[0].data,
                              .dkeys = a.outputs[1].data};
  const Range all = {0, call.shape.tokens};
  RunTasks(a, call, {&all, 1}, 1, AttentionGradTaskFloats(call.shape), AttentionGradTask);
}

int64_t BlockAttentionGradFastWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                             absl::Span<const View>, int num_threads) {
  const AttentionShape shape(op, inputs[1].shape, inputs[4].shape);
  return WorkspaceBytesOf(1, AttentionGradTaskFloats(shape), num_threads);
}

}  // namespace trireme
