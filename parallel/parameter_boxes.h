// Which boxes of which parameters lie in a range of a bucket.
#ifndef TRIREME_PARALLEL_PARAMETER_BOXES_H_
#define TRIREME_PARALLEL_PARAMETER_BOXES_H_

#include <cstdint>
#include <vector>

#include "parallel/bucket.h"
#include "runtime/program.h"

namespace trireme {

// A box of a parameter, in its global coordinates without padding, and where its elements lie: dense, row by
// row.
struct ParameterBox {
  const Parameter* parameter = nullptr;
  int num_dims = 1;
  int64_t begin[2] = {0, 0};
  int64_t end[2] = {1, 1};
  int64_t offset = 0;  // elements from the start of the range that was asked for
};

// The boxes of elements [begin, begin + count) of a bucket of `chunk`, on the rank at `coordinate`, by
// ascending offset.
std::vector<ParameterBox> BoxesOf(const Program& chunk, const Bucket& bucket, int64_t begin, int64_t count,
                                  const AxisSizes& coordinate, const AxisSizes& mesh);

}  // namespace trireme

#endif  // TRIREME_PARALLEL_PARAMETER_BOXES_H_
