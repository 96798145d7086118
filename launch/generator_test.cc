#include "launch/generator.h"

#include <glog/logging.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "configs/load.h"
#include "configs/validate.h"
#include "launch/checkpoint_state.h"
#include "launch/trainer.h"
#include "parallel/self_communicator.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/random.h"

namespace trireme {
namespace {

Config OneRankConfig(const std::string& recipe, std::vector<std::string> overrides = {}) {
  for (const char* field : {"mesh.dp=1", "train.dtype=fp64", "model.num_hidden_layers=2"}) {
    overrides.push_back(field);
  }
  absl::StatusOr<Config> config = LoadConfig("configs/" + recipe, overrides);
  CHECK(config.ok()) << config.status();
  const absl::Status status = ResolveMesh(&*config, 1);
  CHECK(status.ok()) << status;
  return *config;
}

// Tensors as on disk, by name: what a checkpoint does, in memory.
class Tensors {
 public:
  void Save(const TensorSlice& slice) {
    std::vector<double>& tensor = tensors_[slice.name];
    tensor.resize(slice.global_shape.num_elements(), NAN);
    ForEach(slice, [&](int64_t at, double* element) { tensor[at] = *element; });
  }
  void Load(const TensorSlice& slice) {
    const auto tensor = tensors_.find(slice.name);
    ASSERT_NE(tensor, tensors_.end()) << slice.name;
    ASSERT_EQ(tensor->second.size(), slice.global_shape.num_elements()) << slice.name;
    ForEach(slice, [&](int64_t at, double* element) { *element = tensor->second[at]; });
  }

 private:
  template <typename F>
  static void ForEach(const TensorSlice& slice, F f) {
    ASSERT_EQ(slice.dtype, DType::kF64);
    auto* data = static_cast<double*>(slice.data);
    const Box& box = slice.box;
    if (box.num_dims == 1) {
      for (int64_t i = 0; i < box.extent(0); ++i) f(box.begin[0] + i, data + i);
      return;
    }
    for (int64_t row = 0; row < box.extent(0); ++row) {
      for (int64_t col = 0; col < box.extent(1); ++col) {
        const int64_t place = slice.transposed ? col * box.extent(0) + row : row * box.extent(1) + col;
        f((box.begin[0] + row) * slice.global_shape[1] + box.begin[1] + col, data + place);
      }
    }
  }

  std::map<std::string, std::vector<double>> tensors_;
};

std::vector<int32_t> SomeTokens(int64_t count) {
  std::vector<int32_t> tokens;
  for (int64_t t = 0; t < count; ++t) tokens.push_back(static_cast<int32_t>(t * t * 7 % 257));
  return tokens;
}

// Parameters that are a pure function of their names.
void FillParameters(Generator& generator) {
  for (const TensorSlice& slice : generator.ParameterSlices()) {
    const RandomStream stream(3, slice.name);
    for (int64_t i = 0; i < slice.box.volume(); ++i) {
      static_cast<double*>(slice.data)[i] = 0.3 * stream.Normal(static_cast<uint64_t>(i));
    }
  }
}

std::vector<float> Copy(absl::Span<const float> logits) {
  return {logits.begin(), logits.end()};
}

class GeneratorTest : public testing::TestWithParam<std::string> {};

TEST_P(GeneratorTest, ExpectsWhatTheTrainedProgramExpects) {
  const Config config =
      OneRankConfig(GetParam(), {"train.global_batch=1", "train.micro_batch=1", "train.sequence_length=12"});
  CpuDevice device(1);
  SelfCommunicator world;
  auto mesh = Mesh::Create(world, MeshSizes(config));
  RankPlan plan = MakeRankPlan(config, (*mesh)->coordinate(), device);
  Trainer trainer(plan, **mesh, device);
  trainer.Initialize(5);
  const std::vector<int32_t> tokens = SomeTokens(13);
  const int64_t sample = 0;
  const double loss = trainer.EvaluateSum([&](int) {
    return Samples{tokens.data(), tokens.data() + 1, &sample};
  });

  Tensors tensors;
  for (const TensorSlice& slice : SlicesToSave(trainer.store())) tensors.Save(slice);
  Generator generator(config, device);
  for (const TensorSlice& slice : generator.ParameterSlices()) tensors.Load(slice);
  ASSERT_EQ(generator.context(), 12);
  double sum = 0;
  for (size_t t = 1; t < tokens.size(); ++t) {
    const absl::Span<const float> logits = generator.Logits(absl::MakeSpan(tokens).subspan(0, t));
    double total = 0;
    for (float logit : logits) total += std::exp(static_cast<double>(logit));
    sum += std::log(total) - logits[tokens[t]];
  }
  EXPECT_NEAR(sum, loss, 12e-6);  // the logits are rounded to float
}

TEST_P(GeneratorTest, ParametersCoverEveryTensorOnDiskOnce) {
  CpuDevice device(1);
  Generator generator(OneRankConfig(GetParam()), device);
  std::map<std::string, std::vector<Box>> boxes;
  std::map<std::string, Shape> shapes;
  for (const TensorSlice& slice : generator.ParameterSlices()) {
    boxes[slice.name].push_back(slice.box);
    shapes[slice.name] = slice.global_shape;
  }
  EXPECT_GT(boxes.size(), 10);
  for (const auto& [name, of_tensor] : boxes) {
    EXPECT_TRUE(CoversOnce(shapes[name], of_tensor).ok()) << name;
  }
}

TEST_P(GeneratorTest, EarlierCallsLeaveNothingBehind) {
  CpuDevice device(1);
  Generator generator(OneRankConfig(GetParam()), device);
  FillParameters(generator);
  const std::vector<int32_t> tokens = SomeTokens(10);
  const std::vector<float> first = Copy(generator.Logits(absl::MakeSpan(tokens).subspan(0, 4)));
  const std::vector<float> other = Copy(generator.Logits(tokens));
  EXPECT_NE(first, other);
  EXPECT_EQ(Copy(generator.Logits(absl::MakeSpan(tokens).subspan(0, 4))), first);
}

TEST_P(GeneratorTest, OfALongTextTheLastTokensAreSeen) {
  CpuDevice device(1);
  Generator generator(OneRankConfig(GetParam()), device);
  FillParameters(generator);
  const int64_t context = generator.context();
  const std::vector<int32_t> tokens = SomeTokens(context + 5);
  const std::vector<float> last = Copy(generator.Logits(absl::MakeSpan(tokens).subspan(5)));
  EXPECT_EQ(Copy(generator.Logits(tokens)), last);
  EXPECT_NE(Copy(generator.Logits(absl::MakeSpan(tokens).subspan(0, context))), last);
}

TEST_P(GeneratorTest, DropoutIsOff) {
  CpuDevice device(1);
  Generator plain(OneRankConfig(GetParam()), device);
  Generator trained_with(OneRankConfig(GetParam(), {"model.dropout=0.5"}), device);
  FillParameters(plain);
  FillParameters(trained_with);
  const std::vector<int32_t> tokens = SomeTokens(8);
  EXPECT_EQ(Copy(trained_with.Logits(tokens)), Copy(plain.Logits(tokens)));
}

INSTANTIATE_TEST_SUITE_P(Families, GeneratorTest,
                         testing::Values("tiny_llama.textproto", "tiny_gpt2.textproto",
                                         "tiny_bloom.textproto"),
                         [](const auto& info) { return info.param.substr(0, info.param.find('.')); });

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(ChooseTokenTest, TemperatureZeroTakesTheLikeliestAndOfEqualsTheFirst) {
  EXPECT_EQ(*ChooseToken({1, 3, 2, 3}, {}, 0), 1);
  EXPECT_EQ(*ChooseToken({-5}, {}, 0), 0);
}

TEST(ChooseTokenTest, TheDrawDependsOnSeedAndPositionAlone) {
  const std::vector<float> logits(1000, 0.0f);
  const Sampling one = {.temperature = 1, .seed = 1};
  const Sampling two = {.temperature = 1, .seed = 2};
  EXPECT_EQ(*ChooseToken(logits, one, 7), *ChooseToken(logits, one, 7));
  EXPECT_NE(*ChooseToken(logits, one, 7), *ChooseToken(logits, one, 8));
  EXPECT_NE(*ChooseToken(logits, one, 7), *ChooseToken(logits, two, 7));
}

// Of n draws with probability p, the share found lies within 5 standard deviations.
TEST(ChooseTokenTest, DrawsAsOftenAsTheModelSays) {
  constexpr int kDraws = 20000;
  const std::vector<double> wanted = {0.5, 0.3, 0.15, 0.05};
  for (double temperature : {0.5, 1.0, 2.0}) {
    std::vector<float> logits;
    for (double p : wanted) logits.push_back(static_cast<float>(std::log(p) * temperature));
    std::vector<int> count(wanted.size(), 0);
    for (int i = 0; i < kDraws; ++i) ++count[*ChooseToken(logits, {.temperature = temperature}, i)];
    for (size_t id = 0; id < wanted.size(); ++id) {
      const double deviation = std::sqrt(wanted[id] * (1 - wanted[id]) / kDraws);
      EXPECT_NEAR(static_cast<double>(count[id]) / kDraws, wanted[id], 5 * deviation) << id;
    }
  }
}

TEST(ChooseTokenTest, TopKLeavesOutTheOthers) {
  const std::vector<float> logits = {0.0f, 0.2f, 0.1f, 0.2f};
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(*ChooseToken(logits, {.temperature = 1, .top_k = 1}, i), 1);
    const int32_t of_two = *ChooseToken(logits, {.temperature = 1, .top_k = 2}, i);
    EXPECT_TRUE(of_two == 1 || of_two == 3) << of_two;
  }
}

TEST(ChooseTokenTest, WhatIsNoNumberIsRefused) {
  for (float bad : {NAN, kInfinity, -kInfinity}) {
    EXPECT_EQ(ChooseToken({0, bad, 1}, {}, 0).status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(ChooseToken({0, bad, 1}, {.temperature = 1}, 0).status().code(), absl::StatusCode::kDataLoss);
  }
}

}  // namespace
}  // namespace trireme
