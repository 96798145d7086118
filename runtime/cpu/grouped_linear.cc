// Experts' products on oneDNN. An expert has another number of rows in every micro-batch, and a primitive is
// made for one: rows are multiplied in pieces of powers of two, so that there are few primitives, each made
// once, and scratch memory has a bound.
#include <algorithm>
#include <bit>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/gemm.h"

namespace trireme {
namespace {

// y = x w^T, or (dy, w) -> dx, for `rows` rows of one expert.
GemmSpec ByWeightsSpec(absl::Span<const View> inputs, absl::Span<const View> outputs, bool transpose,
                       int64_t rows, int num_threads) {
  return {.m = rows,
          .n = outputs[0].shape[1],
          .k = inputs[0].shape[1],
          .transpose_b = transpose,
          .input = inputs[0].dtype,
          .output = outputs[0].dtype,
          .num_threads = num_threads};
}

// dw of one expert, from `rows` of its rows.
GemmSpec WeightGradSpec(absl::Span<const View> inputs, int64_t rows, bool accumulate, int num_threads) {
  return {.m = inputs[0].shape[1],
          .n = inputs[1].shape[1],
          .k = rows,
          .transpose_a = true,
          .input = inputs[0].dtype,
          .accumulate = accumulate,
          .num_threads = num_threads};
}

void ByWeights(const KernelArguments& a, bool transpose) {
  const int32_t* offsets = a.inputs[2].as<int32_t>();
  const int64_t experts = a.inputs[2].shape[0] - 1, n = a.inputs[1].shape[0] / experts;
  for (int64_t e = 0; e < experts; ++e) {
    for (int64_t row = offsets[e]; row < offsets[e + 1];) {
      const auto rows = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(offsets[e + 1] - row)));
      Gemm(ByWeightsSpec(a.inputs, a.outputs, transpose, rows, a.num_threads), a.inputs[0].row(row),
           a.inputs[1].row(e * n), nullptr, a.outputs[0].row(row), a.workspace);
      row += rows;
    }
  }
}

// The most that `bytes_of` says for any piece that `rows` rows can have.
template <typename F>
int64_t MostBytes(int64_t rows, F bytes_of) {
  int64_t bytes = 0;
  for (int64_t piece = 1; piece <= rows; piece *= 2) bytes = std::max(bytes, bytes_of(piece));
  return bytes;
}

int64_t ByWeightsBytes(absl::Span<const View> inputs, absl::Span<const View> outputs, bool transpose,
                       int num_threads) {
  return MostBytes(inputs[0].shape[0], [&](int64_t rows) {
    return GemmWorkspaceBytes(ByWeightsSpec(inputs, outputs, transpose, rows, num_threads));
  });
}

}  // namespace

void GroupedLinearFast(const KernelArguments& a) {
  ByWeights(a, true);
}

void GroupedLinearInputGradFast(const KernelArguments& a) {
  ByWeights(a, false);
}

void GroupedLinearWeightGradFast(const KernelArguments& a) {
  const int32_t* offsets = a.inputs[2].as<int32_t>();
  const View& dw = a.outputs[0];
  const int64_t experts = a.inputs[2].shape[0] - 1, n = dw.shape[0] / experts;
  for (int64_t e = 0; e < experts; ++e) {
    bool accumulate = a.accumulate;
    if (offsets[e] == offsets[e + 1] && !accumulate) {
      std::fill_n(reinterpret_cast<float*>(dw.row(e * n)), n * dw.shape[1], 0.0f);
    }
    for (int64_t row = offsets[e]; row < offsets[e + 1];) {
      const auto rows = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(offsets[e + 1] - row)));
      Gemm(WeightGradSpec(a.inputs, rows, accumulate, a.num_threads), a.inputs[0].row(row),
           a.inputs[1].row(row), nullptr, dw.row(e * n), a.workspace);
      row += rows;
      accumulate = true;
    }
  }
}

int64_t GroupedLinearFastWorkspaceBytes(const Op&, absl::Span<const View> inputs,
                                        absl::Span<const View> outputs, int num_threads) {
  return ByWeightsBytes(inputs, outputs, true, num_threads);
}

int64_t GroupedLinearInputGradFastWorkspaceBytes(const Op&, absl::Span<const View> inputs,
                                                 absl::Span<const View> outputs, int num_threads) {
  return ByWeightsBytes(inputs, outputs, false, num_threads);
}

int64_t GroupedLinearWeightGradFastWorkspaceBytes(const Op&, absl::Span<const View> inputs,
                                                  absl::Span<const View>, int num_threads) {
  return MostBytes(inputs[0].shape[0], [&](int64_t rows) {
    return std::max(GemmWorkspaceBytes(WeightGradSpec(inputs, rows, false, num_threads)),
                    GemmWorkspaceBytes(WeightGradSpec(inputs, rows, true, num_threads)));
  });
}

}  // namespace trireme
