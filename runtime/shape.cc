#include "runtime/shape.h"

#include <glog/logging.h>

#include "absl/strings/str_cat.h"

namespace trireme {

void Shape::Append(int64_t dim) {
  CHECK_LT(num_dims_, kMaxDims) << "a value has at most " << kMaxDims << " dims";
  dims_[num_dims_++] = dim;
}

bool Shape::operator==(const Shape& other) const {
  if (num_dims_ != other.num_dims_) return false;
  for (int i = 0; i < num_dims_; ++i) {
    if (dims_[i] != other.dims_[i]) return false;
  }
  return true;
}

std::string Shape::ToString() const {
  std::string text = "[";
  for (int i = 0; i < num_dims_; ++i) absl::StrAppend(&text, i == 0 ? "" : ", ", dims_[i]);
  return text + "]";
}

}  // namespace trireme
