// A small model for tests of saving and loading: tensors of known contents, dealt out to ranks as ZeRO deals
// them.
#ifndef TRIREME_CHECKPOINT_TEST_MODEL_H_
#define TRIREME_CHECKPOINT_TEST_MODEL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/tensor_slice.h"
#include "checkpoint/writer.h"

namespace trireme {

// Slices and the memory that they point into.
struct RankTensors {
  std::vector<std::unique_ptr<std::vector<double>>> memory;  // wide enough for any element type
  std::vector<TensorSlice> slices;

  // A slice of this box, over memory of its own.
  TensorSlice* Add(TensorSlice slice);
};

// The tensors of the model: f32 and f64, a transposed matrix, a scalar, a vector, three and four dims,
// optimiser state. Every slice is a whole tensor without data.
std::vector<TensorSlice> ModelTensors();

// The value of element `index` (row-major in the tensor on disk) after `step`. Exact in every element type.
double ModelValue(const std::string& name, int64_t index, int64_t step);

// Fills a slice's memory, or counts the elements that do not have the model's value.
void FillWithModel(const TensorSlice& slice, int64_t step);
int64_t NumWrongElements(const TensorSlice& slice, int64_t step);

// Rank r of n gets an uneven flat range of every tensor: the ranges grow with the rank, and the first rank's
// of a small tensor is empty. Filled as after `step`.
RankTensors UnevenRanges(int rank, int num_ranks, int64_t step);

// Rank r of n wants an even part of every tensor along its last dim (its first for tensors narrower than n).
// Not filled.
RankTensors ColumnParts(int rank, int num_ranks);

// A request to save that model after `step`, with an alias.
SaveRequest ModelRequest(int64_t step);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_TEST_MODEL_H_
