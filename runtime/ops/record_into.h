// How ops are recorded whose results are existing values: state, or windows of it.
#ifndef TRIREME_RUNTIME_OPS_RECORD_INTO_H_
#define TRIREME_RUNTIME_OPS_RECORD_INTO_H_

#include <utility>

#include "runtime/recorder.h"

namespace trireme {

inline Op& RecordInto(OpKind kind, absl::Span<const Tensor> inputs, absl::Span<const Tensor> outputs,
                      Attributes attributes) {
  Recorder& recorder = inputs[0].recorder();
  recorder.Record(kind, inputs, {}, std::move(attributes));
  Op& op = recorder.program().segments.back().ops.back();
  for (const Tensor& output : outputs) op.outputs.push_back(output.id());
  return op;
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_RECORD_INTO_H_
