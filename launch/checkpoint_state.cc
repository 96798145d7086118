#include "launch/checkpoint_state.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

std::vector<TensorSlice> Slices(ParameterStore& store, bool only_saved) {
  const DType wide = store.options().precision.wide();
  std::vector<TensorSlice> slices;
  for (int b = 0; b < store.buckets().size(); ++b) {
    if (only_saved && !store.saves(b)) continue;
    const std::pair<std::string, void*> kept[] = {
        {"", store.OnHost(store.master(b))},
        {"optimizer.exp_avg/", store.OnHost(store.first_moment(b))},
        {"optimizer.exp_avg_sq/", store.OnHost(store.second_moment(b))}};
    for (const ParameterBox& box : store.Boxes(b, store.owned_begin(b), store.owned_size(b))) {
      for (const auto& [prefix, range] : kept) {
        for (TensorSlice& slice : SlicesOf(box, range, prefix.empty() ? store.master_dtype(b) : wide)) {
          slice.name = prefix + slice.name;
          slices.push_back(std::move(slice));
        }
      }
    }
  }
  return slices;
}

// Rows [first, end) of the box, which lie together on disk.
TensorSlice SliceOfRun(const ParameterBox& box, int64_t first, int64_t end, void* range, DType dtype) {
  const Parameter& parameter = *box.parameter;
  const bool renamed = !parameter.disk_name.empty();
  const int64_t columns = box.num_dims == 1 ? 1 : box.end[1] - box.begin[1];
  TensorSlice slice;
  slice.name = renamed ? parameter.disk_name : parameter.name;
  slice.global_shape = renamed ? parameter.disk_shape : parameter.global_shape;
  slice.dtype = dtype;
  slice.data = static_cast<char*>(range) + (box.offset + (first - box.begin[0]) * columns) * SizeOf(dtype);
  slice.transposed = parameter.disk_transposed;
  const int64_t run = parameter.disk_run;
  const int64_t row_begin =
      parameter.disk_row + (run == 0 ? first : first / run * parameter.disk_stride + first % run);
  const int64_t row_end = row_begin + end - first;
  if (box.num_dims == 1) {
    slice.box = Box({{row_begin, row_end}});
  } else if (parameter.disk_transposed) {
    slice.box = Box({{box.begin[1], box.end[1]}, {row_begin, row_end}});
  } else {
    slice.box = Box({{row_begin, row_end}, {box.begin[1], box.end[1]}});
  }
  return slice;
}

}  // namespace

std::vector<TensorSlice> SlicesOf(const ParameterBox& box, void* range, DType dtype) {
  const int64_t run = box.parameter->disk_run;
  if (run == 0) return {SliceOfRun(box, box.begin[0], box.end[0], range, dtype)};
  std::vector<TensorSlice> slices;
  for (int64_t row = box.begin[0]; row < box.end[0];) {
    const int64_t end = std::min(box.end[0], (row / run + 1) * run);
    slices.push_back(SliceOfRun(box, row, end, range, dtype));
    row = end;
  }
  return slices;
}

std::vector<TensorSlice> SlicesToSave(ParameterStore& store) {
  return Slices(store, true);
}
std::vector<TensorSlice> SlicesToLoad(ParameterStore& store) {
  return Slices(store, false);
}

std::vector<TensorAlias> Aliases(const Model& model) {
  if (!model.ties_embedding()) return {};
  return {{"lm_head.weight", model.embedding_name()}};
}

}  // namespace trireme
