// The extent of a value along each of its dims (at most four), outermost first.
#ifndef TRIREME_RUNTIME_SHAPE_H_
#define TRIREME_RUNTIME_SHAPE_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace trireme {

class Shape {
 public:
  static constexpr int kMaxDims = 4;

  Shape() = default;
  Shape(std::initializer_list<int64_t> dims) {
    for (int64_t d : dims) Append(d);
  }

  // Appends an innermost dim. More than kMaxDims is a bug, and aborts.
  void Append(int64_t dim);

  int num_dims() const { return num_dims_; }
  int64_t operator[](int i) const { return dims_[i]; }
  int64_t& operator[](int i) { return dims_[i]; }
  int64_t num_elements() const {
    int64_t n = 1;
    for (int i = 0; i < num_dims_; ++i) n *= dims_[i];
    return n;
  }
  // The product of all dims but the innermost; 1 for a scalar. With `cols`, every tensor is seen as a matrix
  // of rows.
  int64_t rows() const { return num_dims_ == 0 ? 1 : cols() == 0 ? 0 : num_elements() / cols(); }
  // The innermost dim; 1 for a scalar.
  int64_t cols() const { return num_dims_ == 0 ? 1 : dims_[num_dims_ - 1]; }

  bool operator==(const Shape& other) const;

  // "[128, 64]"; "[]" for a scalar.
  std::string ToString() const;

 private:
  std::array<int64_t, kMaxDims> dims_ = {};
  int num_dims_ = 0;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_SHAPE_H_
