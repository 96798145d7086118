// What of a trainer goes into a checkpoint: its tensors as slices, by Hugging Face's names.
#ifndef TRIREME_LAUNCH_CHECKPOINT_STATE_H_
#define TRIREME_LAUNCH_CHECKPOINT_STATE_H_

#include <string>
#include <vector>

#include "checkpoint/tensor_slice.h"
#include "launch/trainer.h"
#include "models/model.h"

namespace trireme {

// The box as slices of the tensor on disk: one, or where its rows take turns with those of other parameters
// there, one for each run of them. `range`: the memory that the box's offset counts in.
std::vector<TensorSlice> SlicesOf(const ParameterBox& box, void* range, DType dtype);

// Master weights and AdamW's moments that this rank holds: to save (each element on one rank only) or to fill
// (all that it needs). They point at what the host sees of the store: fetch it before, or send it afterwards.
std::vector<TensorSlice> SlicesToSave(ParameterStore& store);
std::vector<TensorSlice> SlicesToLoad(ParameterStore& store);

// Tied weights: the head's name on disk is an alias of the embedding's.
std::vector<TensorAlias> Aliases(const Model& model);

}  // namespace trireme

#endif  // TRIREME_LAUNCH_CHECKPOINT_STATE_H_
