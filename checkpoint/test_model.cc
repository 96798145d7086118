#include "checkpoint/test_model.h"

#include <utility>

#include "checkpoint/strided.h"
#include "runtime/random.h"

namespace trireme {
namespace {

TensorSlice Whole(const std::string& name, DType dtype, const Shape& shape, bool transposed = false) {
  return {name, dtype, shape, WholeBox(shape), nullptr, transposed};
}

// The slice's elements as the model has them, in its own element type and order of memory.
std::vector<double> ModelMemory(const TensorSlice& slice, int64_t step) {
  const Box whole = WholeBox(slice.global_shape);
  std::vector<double> values;
  const auto strides = RowMajorStrides(slice.box);
  for (int64_t i = 0; i < slice.box.volume(); ++i) {
    Box element = slice.box;
    for (int d = 0; d < slice.box.num_dims; ++d) {
      element.begin[d] = slice.box.begin[d] + i / strides[d] % slice.box.extent(d);
    }
    values.push_back(ModelValue(slice.name, FlatOffset(whole, element), step));
  }
  return values;
}

// Calls visit(place in memory, value of the model).
template <typename Visit>
void ForEachElement(const TensorSlice& slice, int64_t step, Visit visit) {
  const std::vector<double> values = ModelMemory(slice, step);
  const int64_t rows = slice.transposed ? slice.box.extent(0) : 1;
  const int64_t cols = slice.transposed ? slice.box.extent(1) : static_cast<int64_t>(values.size());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) visit(slice.transposed ? c * rows + r : c, values[r * cols + c]);
  }
}

template <typename T>
void Fill(const TensorSlice& slice, int64_t step) {
  ForEachElement(slice, step, [&](int64_t place, double value) {
    static_cast<T*>(slice.data)[place] = static_cast<T>(value);
  });
}

template <typename T>
int64_t CountWrong(const TensorSlice& slice, int64_t step) {
  int64_t wrong = 0;
  ForEachElement(slice, step, [&](int64_t place, double value) {
    if (static_cast<const T*>(slice.data)[place] != static_cast<T>(value)) ++wrong;
  });
  return wrong;
}

}  // namespace

TensorSlice* RankTensors::Add(TensorSlice slice) {
  memory.push_back(std::make_unique<std::vector<double>>(slice.box.volume()));
  slice.data = memory.back()->data();
  slices.push_back(std::move(slice));
  return &slices.back();
}

std::vector<TensorSlice> ModelTensors() {
  return {Whole("transformer.wte.weight", DType::kF32, Shape({33, 12})),
          Whole("transformer.h.0.attn.c_attn.weight", DType::kF32, Shape({12, 36}), /*transposed=*/true),
          Whole("transformer.h.0.ln_1.bias", DType::kF32, Shape({12})),
          Whole("experts", DType::kF64, Shape({3, 5, 7})),
          Whole("kernel", DType::kI32, Shape({2, 3, 2, 5})),
          Whole("scale", DType::kF32, Shape()),
          Whole("optimizer.exp_avg/transformer.wte.weight", DType::kF32, Shape({33, 12})),
          Whole("optimizer.exp_avg/transformer.h.0.attn.c_attn.weight", DType::kF32, Shape({12, 36}), true)};
}

double ModelValue(const std::string& name, int64_t index, int64_t step) {
  const Philox4 words = RandomStream(static_cast<uint64_t>(step), name).Words(static_cast<uint64_t>(index));
  return static_cast<double>(words[0] % 65536) - 32768;
}

void FillWithModel(const TensorSlice& slice, int64_t step) {
  if (slice.dtype == DType::kF32) Fill<float>(slice, step);
  if (slice.dtype == DType::kF64) Fill<double>(slice, step);
  if (slice.dtype == DType::kI32) Fill<int32_t>(slice, step);
}

int64_t NumWrongElements(const TensorSlice& slice, int64_t step) {
  if (slice.dtype == DType::kF32) return CountWrong<float>(slice, step);
  if (slice.dtype == DType::kF64) return CountWrong<double>(slice, step);
  return CountWrong<int32_t>(slice, step);
}

RankTensors UnevenRanges(int rank, int num_ranks, int64_t step) {
  RankTensors mine;
  const int64_t all = num_ranks * (num_ranks + 1) / 2;
  for (const TensorSlice& tensor : ModelTensors()) {
    const int64_t volume = tensor.box.volume();
    const int64_t begin = volume * (rank * (rank + 1) / 2) / all;
    const int64_t end = volume * ((rank + 1) * (rank + 2) / 2) / all;
    std::vector<TensorSlice> parts;
    AppendRange(tensor, begin, end, nullptr, &parts);
    for (const TensorSlice& part : parts) FillWithModel(*mine.Add(part), step);
  }
  return mine;
}

RankTensors ColumnParts(int rank, int num_ranks) {
  RankTensors mine;
  for (TensorSlice tensor : ModelTensors()) {
    if (tensor.box.num_dims > 0) {
      const int last = tensor.box.num_dims - 1;
      const int dim = tensor.box.extent(last) >= num_ranks ? last : 0;
      const int64_t size = tensor.box.extent(dim);
      tensor.box.begin[dim] = size * rank / num_ranks;
      tensor.box.end[dim] = size * (rank + 1) / num_ranks;
    }
    mine.Add(tensor);
  }
  return mine;
}

SaveRequest ModelRequest(int64_t step) {
  SaveRequest request;
  request.run_directory = "run";
  request.state.run_id = "test";
  request.state.step = step;
  request.state.tokens_seen = step * 1000;
  request.state.mesh = "pp 1, dp 4, cp 1, tp 1";
  request.state.config = "model {}";
  request.state.config_digest = "c0";
  request.state.tokenizer_digest = "70";
  request.state.dataset_digest = "da";
  request.state.positions = {{"corpus", step * 8}};
  request.state.applied_updates = step - 1;
  request.state.skipped_steps = 1;
  request.state.seed = 42;
  request.state.loss_window = {3.5, 0.1};
  request.aliases = {{"lm_head.weight", "transformer.wte.weight"}};
  return request;
}

}  // namespace trireme
