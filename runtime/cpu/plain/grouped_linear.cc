#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

// Rows [begin, begin + rows) of a matrix.
View Rows(View x, int64_t begin, int64_t rows) {
  x.data = static_cast<char*>(x.data) + begin * x.shape.cols() * SizeOf(x.dtype);
  x.shape[0] = rows;
  return x;
}

int64_t NumExperts(const KernelArguments& a) {
  return a.inputs[2].shape[0] - 1;
}

// The ordinary kernel, expert by expert.
template <Kernel kKernel>
void ByWeights(const KernelArguments& a) {
  const int32_t* begin = a.inputs[2].as<int32_t>();
  const int64_t n = a.inputs[1].shape[0] / NumExperts(a);
  for (int64_t e = 0; e < NumExperts(a); ++e) {
    const int64_t rows = begin[e + 1] - begin[e];
    const View inputs[] = {Rows(a.inputs[0], begin[e], rows), Rows(a.inputs[1], e * n, n), View{}};
    const View output = Rows(a.outputs[0], begin[e], rows);
    kKernel({.op = a.op,
             .inputs = inputs,
             .outputs = {&output, 1},
             .accumulate = false,
             .workspace = nullptr,
             .mesh = a.mesh,
             .num_threads = a.num_threads});
  }
}

}  // namespace

void GroupedLinearPlain(const KernelArguments& a) {
  ByWeights<LinearPlain>(a);
}

void GroupedLinearInputGradPlain(const KernelArguments& a) {
  ByWeights<LinearInputGradPlain>(a);
}

void GroupedLinearWeightGradPlain(const KernelArguments& a) {
  const int32_t* begin = a.inputs[2].as<int32_t>();
  const int64_t n = a.outputs[0].shape[0] / NumExperts(a);
  for (int64_t e = 0; e < NumExperts(a); ++e) {
    const int64_t rows = begin[e + 1] - begin[e];
    const View inputs[] = {Rows(a.inputs[0], begin[e], rows), Rows(a.inputs[1], begin[e], rows)};
    const View output = Rows(a.outputs[0], e * n, n);
    LinearWeightGradPlain({.op = a.op,
                           .inputs = inputs,
                           .outputs = {&output, 1},
                           .accumulate = a.accumulate,
                           .workspace = nullptr,
                           .mesh = a.mesh,
                           .num_threads = a.num_threads});
  }
}

}  // namespace trireme
