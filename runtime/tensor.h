// The handle that model code holds while it records: a recorder and a value of its program. It owns nothing
// and stores no data.
#ifndef TRIREME_RUNTIME_TENSOR_H_
#define TRIREME_RUNTIME_TENSOR_H_

#include "runtime/program.h"

namespace trireme {

class Recorder;

class Tensor {
 public:
  Tensor() = default;  // no value: an optional operand that is absent
  Tensor(Recorder* recorder, ValueId id) : recorder_(recorder), id_(id) {}

  bool present() const { return id_ != kNoValue; }
  Recorder& recorder() const { return *recorder_; }
  ValueId id() const { return id_; }
  const Value& value() const;
  DType dtype() const { return value().dtype; }
  // By value: recording moves the Program's values in memory.
  Shape shape() const { return value().shape; }
  Layout layout() const { return value().layout; }

 private:
  Recorder* recorder_ = nullptr;
  ValueId id_ = kNoValue;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_TENSOR_H_
