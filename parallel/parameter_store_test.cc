#include "parallel/parameter_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "parallel/chunk_test_util.h"
#include "runtime/rounding.h"

namespace trireme {
namespace {

struct MeshCase {
  int dp, tp, zero_stage;
};

std::vector<MeshCase> Meshes() {
  return {{1, 1, 0}, {1, 1, 1}, {2, 1, 0}, {2, 1, 1}, {3, 1, 1}, {5, 1, 1}, {1, 2, 1},
          {1, 3, 0}, {2, 3, 1}, {3, 2, 1}, {3, 2, 2}, {5, 1, 3}, {2, 3, 3}};
}

// Calls `f(store)` for every rank of the mesh.
template <typename F>
void ForEachRank(const MeshCase& mesh, TestChunkOptions chunk, F f) {
  chunk.tp = mesh.tp;
  for (int dp = 0; dp < mesh.dp; ++dp) {
    for (int tp = 0; tp < mesh.tp; ++tp) {
      TestStore store(chunk, mesh.zero_stage, mesh.dp, tp, dp);
      f(store);
    }
  }
}

double Load(const void* data, DType dtype, int64_t i) {
  if (dtype == DType::kF64) return static_cast<const double*>(data)[i];
  if (dtype == DType::kF32) return static_cast<const float*>(data)[i];
  return static_cast<float>(static_cast<const Bf16*>(data)[i]);
}

// Calls `f(parameter, global index, local offset)` for every element of the boxes.
template <typename F>
void ForEachElement(const std::vector<ParameterBox>& boxes, F f) {
  for (const ParameterBox& box : boxes) {
    int64_t offset = box.offset;
    const int64_t width = box.num_dims == 2 ? box.parameter->global_shape[1] : 1;
    for (int64_t row = box.begin[0]; row < box.end[0]; ++row) {
      for (int64_t col = box.begin[1]; col < box.end[1]; ++col) {
        f(*box.parameter, row * width + col, offset++);
      }
    }
  }
}

// How often each element of each parameter is saved, over all ranks.
std::map<std::string, std::vector<int>> CountSaved(const MeshCase& mesh) {
  std::map<std::string, std::vector<int>> counts;
  ForEachRank(mesh, {}, [&](TestStore& rank) {
    for (const ParameterGroup& group : rank.chunk().program().parameters) {
      for (const Parameter& part : group.parts) counts[part.name].resize(part.global_shape.num_elements());
    }
    ParameterStore& store = rank.store();
    for (int b = 0; b < store.buckets().size(); ++b) {
      if (!store.saves(b)) continue;
      ForEachElement(store.Boxes(b, store.owned_begin(b), store.owned_size(b)),
                     [&](const Parameter& parameter, int64_t index, int64_t offset) {
                       EXPECT_GE(offset, 0);
                       EXPECT_LT(offset, store.owned_size(b));
                       ++counts[parameter.name].at(index);
                     });
    }
  });
  return counts;
}

TEST(ParameterStoreTest, OverAllRanksEveryElementIsSavedOnce) {
  for (const MeshCase& mesh : Meshes()) {
    for (const auto& [name, counts] : CountSaved(mesh)) {
      EXPECT_THAT(counts, testing::Each(1)) << name << " dp " << mesh.dp << " tp " << mesh.tp;
    }
  }
}

TEST(ParameterStoreTest, NoTwoElementsOfARankLieInOnePlace) {
  TestStore rank({.tp = 3}, 1, 2, 1, 1);
  for (int b = 0; b < rank.store().buckets().size(); ++b) {
    std::vector<int> taken(rank.buckets()[b].size, 0);
    ForEachElement(rank.store().Boxes(b, 0, rank.buckets()[b].size),
                   [&](const Parameter&, int64_t, int64_t offset) { ++taken.at(offset); });
    EXPECT_THAT(taken, testing::Each(testing::Le(1))) << rank.buckets()[b].name;
  }
}

// However a range is cut, its parts are the whole: ZeRO cuts in the middle of rows.
TEST(ParameterStoreTest, BoxesOfPartsAreTheBoxesOfTheWhole) {
  TestStore rank({.tp = 2}, 0, 1, 1, 0);
  for (int b = 0; b < rank.store().buckets().size(); ++b) {
    using Places = std::map<std::pair<std::string, int64_t>, int64_t>;
    Places whole, parts;
    const int64_t size = rank.buckets()[b].size;
    auto collect = [&](Places& places, int64_t begin, int64_t count) {
      ForEachElement(rank.store().Boxes(b, begin, count),
                     [&](const Parameter& p, int64_t index, int64_t offset) {
                       EXPECT_TRUE(places.emplace(std::pair(p.name, index), begin + offset).second);
                     });
    };
    collect(whole, 0, size);
    for (int64_t begin = 0; begin < size; begin += 7)
      collect(parts, begin, std::min<int64_t>(7, size - begin));
    EXPECT_EQ(parts, whole);
  }
}

TEST(ParameterStoreTest, PaddingOfTheVocabularyIsInNoBox) {
  // Rank 2 of 3 holds rows 32 to 47 of a vocabulary of 37.
  TestStore rank({.tp = 3}, 0, 1, 2, 0);
  int64_t rows = 0;
  for (int b = 0; b < rank.buckets().size(); ++b) {
    for (const ParameterBox& box : rank.store().Boxes(b, 0, rank.buckets()[b].size)) {
      if (box.parameter->name != "embedding.weight") continue;
      EXPECT_EQ(box.begin[0], 32);
      rows += box.end[0] - box.begin[0];
    }
  }
  EXPECT_EQ(rows, 5);
}

// What each rank starts from, as global tensors; every copy of an element must agree.
using Tensors = std::map<std::string, std::vector<double>>;
void Merge(Tensors& tensors, const Parameter& parameter, int64_t index, double number) {
  std::vector<double>& tensor = tensors[parameter.name];
  tensor.resize(parameter.global_shape.num_elements(), NAN);
  EXPECT_TRUE(std::isnan(tensor[index]) || tensor[index] == number) << parameter.name << " " << index;
  tensor[index] = number;
}

Tensors InitialValues(const MeshCase& mesh, DType compute, bool masters) {
  Tensors tensors;
  ForEachRank(mesh, {.compute = compute}, [&](TestStore& rank) {
    ParameterStore& store = rank.store();
    store.Initialize(11);
    for (int b = 0; b < store.buckets().size(); ++b) {
      const Bucket& bucket = store.buckets()[b];
      const bool part = masters || store.shards_parameters(b);
      const int64_t begin = part ? store.owned_begin(b) : 0;
      const int64_t count = part ? store.owned_size(b) : bucket.size;
      const DType dtype = masters ? store.options().precision.wide() : bucket.compute;
      const void* data = masters ? store.master(b) : part ? store.owned_parameters(b) : store.parameters(b);
      ForEachElement(store.Boxes(b, begin, count), [&](const Parameter& p, int64_t index, int64_t offset) {
        Merge(tensors, p, index, Load(data, dtype, offset));
      });
    }
  });
  return tensors;
}

TEST(ParameterStoreTest, EveryMeshStartsFromTheSameBits) {
  for (DType compute : {DType::kF64, DType::kF32, DType::kBF16}) {
    const Tensors expected = InitialValues({1, 1, 0}, compute, true);
    EXPECT_EQ(expected.size(), 12);
    for (const MeshCase& mesh : Meshes()) {
      EXPECT_EQ(InitialValues(mesh, compute, true), expected) << "dp " << mesh.dp << " tp " << mesh.tp;
    }
  }
}

TEST(ParameterStoreTest, EveryDTypeStartsFromTheSameNumbers) {
  const Tensors expected = InitialValues({1, 1, 0}, DType::kF64, true);
  EXPECT_EQ(InitialValues({2, 1, 1}, DType::kBF16, true), expected);
  EXPECT_EQ(InitialValues({2, 1, 1}, DType::kF32, true), expected);
}

TEST(ParameterStoreTest, ComputeCopiesAreWholeAndRounded) {
  const Tensors masters = InitialValues({1, 1, 0}, DType::kBF16, true);
  for (int zero_stage : {1, 3}) {
    const Tensors copies = InitialValues({2, 2, zero_stage}, DType::kBF16, false);
    ASSERT_EQ(copies.size(), masters.size());
    for (const auto& [name, numbers] : masters) {
      const bool matrix = !name.ends_with("gain") && !name.ends_with("bias");
      for (size_t i = 0; i < numbers.size(); ++i) {
        const auto number = static_cast<float>(numbers[i]);
        EXPECT_EQ(copies.at(name)[i], matrix ? static_cast<float>(Bf16(number)) : number) << name;
      }
    }
  }
}

TEST(ParameterStoreTest, PaddingStartsAsZero) {
  TestStore rank({}, 0, 1, 0, 0);
  rank.store().Initialize(11);
  for (int b = 0; b < rank.buckets().size(); ++b) {
    std::vector<bool> real(rank.buckets()[b].size, false);
    ForEachElement(rank.store().Boxes(b, 0, rank.buckets()[b].size),
                   [&](const Parameter&, int64_t, int64_t offset) { real[offset] = true; });
    for (size_t i = 0; i < real.size(); ++i) {
      const double number = Load(rank.store().parameters(b), DType::kF64, static_cast<int64_t>(i));
      EXPECT_TRUE(real[i] || number == 0) << rank.buckets()[b].name << " " << i;
    }
  }
}

TEST(ParameterStoreTest, SeedsDiffer) {
  TestStore a({}, 0, 1, 0, 0), b({}, 0, 1, 0, 0);
  a.store().Initialize(1);
  b.store().Initialize(2);
  EXPECT_NE(Load(a.store().master(0), DType::kF64, 0), Load(b.store().master(0), DType::kF64, 0));
}

TEST(ParameterStoreTest, ComputeCopiesAreMadeAnewOfTheOwnShard) {
  TestStore rank({.compute = DType::kBF16}, 1, 2, 0, 1);
  ParameterStore& store = rank.store();
  store.Initialize(3);
  const float before = static_cast<float>(static_cast<Bf16*>(store.parameters(0))[0]);
  static_cast<float*>(store.master(0))[0] = 1.25F;
  store.MakeComputeCopies();
  const auto* copies = static_cast<const Bf16*>(store.parameters(0));
  EXPECT_EQ(static_cast<float>(copies[store.owned_begin(0)]), 1.25F);
  EXPECT_EQ(static_cast<float>(copies[0]), before);
}

// The word of every element of every bf16 parameter.
std::map<std::string, std::vector<double>> RoundingWords(const MeshCase& mesh) {
  Tensors tensors;
  ForEachRank(mesh, {.compute = DType::kBF16, .rounds = true}, [&](TestStore& rank) {
    ParameterStore& store = rank.store();
    for (int b = 0; b < store.buckets().size(); ++b) {
      EXPECT_EQ(store.has_masters(b), false);
      if (store.buckets()[b].compute != DType::kBF16) continue;
      const RoundingPlace* places = store.rounding_places(b);
      const int64_t count = store.num_rounding_places(b);
      ForEachElement(store.Boxes(b, store.owned_begin(b), store.owned_size(b)),
                     [&](const Parameter& p, int64_t index, int64_t offset) {
                       const RoundingPlace* place = FindRoundingPlace(places, count, offset);
                       Merge(tensors, p, index, RoundingWord(*place, offset, 3));
                     });
    }
  });
  return tensors;
}

TEST(ParameterStoreTest, EveryMeshAndStageRoundsAnElementByTheSameWord) {
  const Tensors expected = RoundingWords({1, 1, 0});
  EXPECT_GE(expected.size(), 5);
  for (const MeshCase& mesh : Meshes()) {
    EXPECT_EQ(RoundingWords(mesh), expected)
        << "dp " << mesh.dp << " tp " << mesh.tp << " " << mesh.zero_stage;
  }
}

TEST(ParameterStoreTest, RoundedParametersAreWithoutMasterWeights) {
  const auto parameters = [](bool rounds) {
    return TestStore({.compute = DType::kBF16, .rounds = rounds}, 0, 1, 0, 0)
        .store()
        .PlannedBytes()
        .parameters;
  };
  const TestStore rank({.compute = DType::kBF16}, 0, 1, 0, 0);
  int64_t matrices = 0;
  for (const Bucket& bucket : rank.buckets()) matrices += bucket.compute == DType::kBF16 ? bucket.size : 0;
  EXPECT_NEAR(static_cast<double>(parameters(false) - parameters(true)), 4.0 * static_cast<double>(matrices),
              64.0 * static_cast<double>(rank.buckets().size()));
}

// Half of the state on each of two ranks, none of it elsewhere.
TEST(ParameterStoreTest, ZeroSharesTheOptimizersState) {
  const auto state = [](int zero_stage, int dp) {
    return TestStore({}, zero_stage, dp, 0, 0).store().PlannedBytes().optimizer_state;
  };
  const TestStore rank({}, 1, 2, 0, 0);
  int64_t parameters = 0;
  for (const Bucket& bucket : rank.buckets()) parameters += bucket.size * 8;
  EXPECT_GE(state(0, 2), 2 * parameters);
  EXPECT_NEAR(static_cast<double>(state(1, 2)), static_cast<double>(parameters), 4096);
}

TEST(ParameterStoreTest, TheChunkReadsAndWritesTheBucketsThemselves) {
  TestStore rank({}, 0, 1, 0, 0);
  ParameterStore& store = rank.store();
  const Bindings bindings = store.BindChunk(rank.chunk().program());
  for (int b = 0; b < rank.buckets().size(); ++b) {
    for (const Bucket::Member& member : rank.buckets()[b].members) {
      const ParameterGroup& group = rank.chunk().program().parameters[member.group];
      EXPECT_EQ(bindings[group.value], static_cast<double*>(store.parameters(b)) + member.offset);
      EXPECT_EQ(bindings[group.gradient], static_cast<double*>(store.gradients(b)) + member.offset);
    }
  }
}

TEST(ParameterStoreTest, OneHomeSavesATiedParameter) {
  TestStore first({.ties_head = true}, 0, 1, 0, 0, "embedding.weight");
  for (int b = 0; b < first.buckets().size(); ++b) EXPECT_TRUE(first.store().saves(b));
  UpdateOptions second = first.store().options();
  second.coordinate[Axis::kPp] = 1;
  const ParameterStore other({&first.chunk().program()}, first.buckets(), first.update(), second,
                             PlanPassingMemory(first.update(), {}));
  for (int b = 0; b < first.buckets().size(); ++b) EXPECT_EQ(other.saves(b), !first.buckets()[b].tied);
}

}  // namespace
}  // namespace trireme
