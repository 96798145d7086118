// A small chunk with every kind of parameter, recorded without a model: column- and row-parallel matrices,
// groups, vectors that tp shards or shares, a padded vocabulary, and a head that may be tied.
#ifndef TRIREME_PARALLEL_CHUNK_TEST_UTIL_H_
#define TRIREME_PARALLEL_CHUNK_TEST_UTIL_H_

#include <memory>
#include <string>
#include <vector>

#include "parallel/bucket.h"
#include "parallel/optimizer.h"
#include "parallel/parameter_store.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/recorder.h"

namespace trireme {

struct TestChunkOptions {
  int tp = 1;
  int dp = 1;
  DType compute = DType::kF64;
  bool has_input = false;   // a stage in front
  bool has_output = false;  // a stage behind: no head
  bool ties_head = false;   // to the embedding
  bool rounds = false;      // bf16 parameters, stochastically
};

class TestChunk {
 public:
  static constexpr int64_t kTokens = 8, kWidth = 12, kWide = 24, kVocabulary = 37, kPadded = 48;

  explicit TestChunk(const TestChunkOptions& options);
  const Program& program() const { return program_; }
  AxisSizes mesh() const { return mesh_; }

 private:
  Tensor Weight(const std::string& name, int64_t rows, int64_t cols, int sharded_dim);
  Tensor Vector(const std::string& name, int64_t size, Placement tp);
  Tensor Vocabulary(const std::string& name);
  Tensor Block(const std::string& name, Tensor x);
  void Head(Tensor x, const TestChunkOptions& options);

  AxisSizes mesh_;
  Program program_;
  Recorder recorder_;
};

// The store of one rank, with all that it is made of.
class TestStore {
 public:
  TestStore(const TestChunkOptions& chunk, int zero_stage, int dp, int tp_coordinate, int dp_coordinate,
            const std::string& tied_parameter = "");

  ParameterStore& store() { return *store_; }
  const UpdateProgram& update() const { return update_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  const TestChunk& chunk() const { return chunk_; }

 private:
  TestChunk chunk_;
  CpuDevice device_;
  std::vector<Bucket> buckets_;
  UpdateProgram update_;
  std::unique_ptr<ParameterStore> store_;
};

}  // namespace trireme

#endif  // TRIREME_PARALLEL_CHUNK_TEST_UTIL_H_
