// The memory behind a chunk's parameters: compute copies, master weights, gradients and optimiser state,
// bucket by bucket.
#ifndef TRIREME_PARALLEL_PARAMETER_STORE_H_
#define TRIREME_PARALLEL_PARAMETER_STORE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/bucket.h"
#include "parallel/optimizer.h"
#include "parallel/parameter_boxes.h"
#include "parallel/passing_memory.h"
#include "runtime/device.h"
#include "runtime/executor.h"
#include "runtime/rounding.h"

namespace trireme {

class ParameterStore {
 public:
  struct Bytes {
    int64_t parameters = 0;  // compute copies, and master weights where they differ
    int64_t gradients = 0;
    int64_t optimizer_state = 0;  // moments, norms, factors
    int64_t passing = 0;          // whole buckets, of which the others are shards
    int64_t total() const { return parameters + gradients + optimizer_state + passing; }
  };

  // `chunks`, `buckets` and `update` belong together and must outlive the store. `passing`: by all steps that
  // will run.
  ParameterStore(std::vector<const Program*> chunks, const std::vector<Bucket>& buckets,
                 const UpdateProgram& update, const UpdateOptions& options, PassingMemory passing);

  // What Allocate will take.
  Bytes PlannedBytes() const;
  // `device` must outlive the store.
  void Allocate(Device& device);

  // The store's memory as the host sees it: the memory itself on a host device, else a copy of it, which
  // FetchToHost brings up to date and SendToDevice writes back. Both return when that is done. What passes is
  // no part of it.
  void FetchToHost();
  void SendToDevice();
  // Where the host sees what the device has at `address`, one of the addresses below.
  template <typename T>
  T* OnHost(T* address) const {
    return reinterpret_cast<T*>(host_ + (reinterpret_cast<char*>(address) - memory_));
  }
  char* OnHost(void* address) const { return host_ + (static_cast<char*>(address) - memory_); }

  // Addresses for the executor. `program`: any program recorded of one of the chunks (training or
  // evaluation); parameters are found by name.
  Bindings BindChunk(const Program& program) const;
  Bindings BindUpdate() const;

  // Fills master weights and compute copies with initial values, a pure function of (seed, name, global
  // index), each rounded to fp32 (so that every dtype starts from the same numbers).
  void Initialize(uint64_t seed);
  // After the host has written the master weights (a checkpoint was loaded): makes this rank's compute copies
  // of them anew, and sends all of it to the device. Under ZeRO the other shards must be gathered afterwards.
  void MakeComputeCopies();

  // What of bucket b this rank updates, and holds as master weights and state: elements [owned_begin,
  // owned_begin
  // + owned_size) of the bucket.
  int64_t owned_begin(int b) const;
  int64_t owned_size(int b) const;
  // Whether this rank, and not another that holds the same elements, should save bucket b.
  bool saves(int b) const;
  // The boxes of elements [begin, begin + count) of bucket b.
  std::vector<ParameterBox> Boxes(int b, int64_t begin, int64_t count) const;

  // Where bucket b is rounded stochastically: its places, of what this rank owns of it.
  RoundingPlace* rounding_places(int b) const {
    return static_cast<RoundingPlace*>(At(update_.buckets[b].rounding_places));
  }
  int64_t num_rounding_places(int b) const {
    return update_.program.value(update_.buckets[b].rounding_places).shape.rows();
  }
  // Whether what AdamW updates is storage of its own beside the compute copies; and its dtype.
  bool has_masters(int b) const { return update_.buckets[b].master != update_.buckets[b].owned_parameters; }
  DType master_dtype(int b) const { return update_.program.value(update_.buckets[b].master).dtype; }

  // Addresses on the device.
  void* master(int b) const { return At(update_.buckets[b].master); }
  void* first_moment(int b) const { return At(update_.buckets[b].first_moment); }
  void* second_moment(int b) const { return At(update_.buckets[b].second_moment); }
  void* gradients(int b) const { return At(update_.buckets[b].gradients); }
  void* parameters(int b) const { return At(update_.buckets[b].parameters); }
  void* owned_gradients(int b) const { return At(update_.buckets[b].owned_gradients); }
  void* owned_parameters(int b) const { return At(update_.buckets[b].owned_parameters); }
  // Whether bucket b's parameters are whole only while a segment reads them.
  bool shards_parameters(int b) const { return update_.buckets[b].shards_parameters; }
  double* step_inputs() const { return static_cast<double*>(At(update_.step_inputs)); }
  double* step_factors() const { return static_cast<double*>(At(update_.step_factors)); }
  double* updates() const { return static_cast<double*>(At(update_.updates)); }
  double* local_norm() const { return static_cast<double*>(At(update_.local_norm)); }

  const std::vector<Bucket>& buckets() const { return buckets_; }
  const UpdateOptions& options() const { return options_; }

 private:
  void* At(ValueId id) const;
  void WriteRoundingPlaces(int b);

  const std::vector<const Program*> chunks_;
  const std::vector<Bucket>& buckets_;
  const UpdateProgram& update_;
  const UpdateOptions options_;
  const PassingMemory passing_;
  std::vector<void*> storage_;  // by value of the update program
  Device* device_ = nullptr;
  int64_t kept_bytes_ = 0;  // all but what passes, which lies behind it
  char* memory_ = nullptr;  // of the device: everything in storage_
  char* host_ = nullptr;    // what is kept, as the host sees it
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_PARAMETER_STORE_H_
