// Attention's CUDA kernels against the op's definition in double, run by the emulator.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cpu/kernels.h"
#include "runtime/cpu/test_tensor.h"
#include "runtime/cuda/attention.h"
#include "tests/emulator/device_buffer.h"
#include "tests/emulator/every_order.h"

namespace trireme {
namespace {

// The largest distance of a token: ||a - b|| / (||b|| + the root mean square of all tokens' ||b||). One wrong
// key of one query shows.
double FarthestToken(const TestTensor& a, const TestTensor& b) {
  const std::vector<double> x = a.Doubles(), y = b.Doubles();
  const int64_t tokens = b.view().shape.rows(), columns = b.view().shape.cols();
  std::vector<double> differences(tokens), norms(tokens);
  double squares = 0;
  for (int64_t i = 0; i < tokens * columns; ++i) {
    differences[i / columns] += (x[i] - y[i]) * (x[i] - y[i]);
    norms[i / columns] += y[i] * y[i];
    squares += y[i] * y[i];
  }
  double farthest = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    const double distance =
        std::sqrt(differences[t]) / (std::sqrt(norms[t]) + std::sqrt(squares / static_cast<double>(tokens)));
    if (!(distance <= farthest)) farthest = distance;  // a NaN too
  }
  return farthest;
}

// Rounding errors of fp32 sums over a head and over the keys.
constexpr double kF32Distance = 2e-6;
// bf16 results: half a unit in the last of 8 bits, 2^-9, a number, and less on average; and weights that were
// rounded to bf16 before they are summed.
constexpr double kBf16Distance = 3e-3;
// A gradient reads `out` as rounded to bf16, in out . dout, which subtracts from weights that nearly cancel.
constexpr double kBf16GradDistance = 5e-3;

// lo of sequences of these lengths, each causal, with a window of `window` tokens.
std::vector<double> Sequences(const std::vector<int>& lengths, int window = 1 << 20) {
  std::vector<double> lo;
  for (const int length : lengths) {
    const int start = static_cast<int>(lo.size());
    for (int t = start; t < start + length; ++t) lo.push_back(std::max(start, t - window + 1));
  }
  return lo;
}

struct Mask {
  std::string name;
  std::vector<double> lo;
};

std::vector<Mask> Masks() {
  return {{"one token", Sequences({1})},
          {"one tile", Sequences({128})},
          {"one sequence of an odd length", Sequences({203})},
          {"equal sequences", Sequences({128, 128})},
          {"documents packed", Sequences({3, 1, 130, 17, 64, 150, 2})},
          {"many short documents", Sequences(std::vector<int>(60, 5))},
          {"sliding window", Sequences({300}, 37)},
          {"window longer than a tile", Sequences({190, 170}, 140)},
          {"each token alone", Sequences({140}, 1)}};
}

struct Case {
  int64_t query_heads, key_heads, head_size;

  std::string ToString() const {
    return std::to_string(query_heads) + " heads on " + std::to_string(key_heads) + " of " +
           std::to_string(head_size);
  }
};

// A tensor's bytes on the device, `offset` bytes behind an aligned address.
class DeviceTensor {
 public:
  explicit DeviceTensor(const TestTensor& tensor, int64_t offset = 0)
      : view_(tensor.view()), offset_(offset), bytes_(Bytes(tensor, offset)) {}

  View view() { return {bytes_.data() + offset_, view_.dtype, view_.shape}; }
  void ReadInto(const TestTensor& tensor) const {
    const std::vector<unsigned char> bytes = bytes_.Read();
    std::copy(bytes.begin() + offset_, bytes.end(), tensor.view().as<unsigned char>());
  }

 private:
  static std::vector<unsigned char> Bytes(const TestTensor& tensor, int64_t offset) {
    const auto* data = tensor.view().as<unsigned char>();
    std::vector<unsigned char> bytes(offset, 0);
    bytes.insert(bytes.end(), data, data + tensor.size() * SizeOf(tensor.view().dtype));
    return bytes;
  }

  View view_;
  int64_t offset_;
  DeviceBuffer<unsigned char> bytes_;
};

// Runs a CUDA launcher on copies of host tensors, with a workspace full of NaN.
void RunOnDevice(const KernelEntry& entry, const Op& op, const std::vector<const TestTensor*>& inputs,
                 const std::vector<const TestTensor*>& outputs, int64_t offset) {
  std::vector<std::unique_ptr<DeviceTensor>> tensors;
  std::vector<View> views[2];
  for (int i = 0; i < 2; ++i) {
    for (const TestTensor* t : i == 0 ? inputs : outputs) {
      // A log-sum-exp and lo are of 4 bytes and stay aligned to them.
      tensors.push_back(std::make_unique<DeviceTensor>(*t, t->view().dtype == DType::kI32 ? 0 : offset));
      views[i].push_back(tensors.back()->view());
    }
  }
  const int64_t bytes =
      entry.workspace_bytes == nullptr ? 0 : entry.workspace_bytes(op, views[0], views[1], 1);
  DeviceBuffer<unsigned char> workspace(std::vector<unsigned char>(bytes, 0xff));
  entry.run({op, views[0], views[1], false, bytes == 0 ? nullptr : workspace.data(), {}, {}, 1});
  for (size_t i = 0; i < outputs.size(); ++i) tensors[inputs.size() + i]->ReadInto(*outputs[i]);
}

template <AttentionFamily kFamily>
void ForwardBy(const KernelArguments& a) {
  AttentionBy(kFamily, a);
}
template <AttentionFamily kFamily>
void GradientBy(const KernelArguments& a) {
  AttentionGradBy(kFamily, a);
}

bool HasHopper() {
  int major = 0;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
  return major == 9;
}

// A forward kernel and its gradient.
struct Kernels {
  KernelEntry forward, gradient;
};
constexpr Kernels kChosen = {{AttentionCuda, AttentionCudaWorkspaceBytes},
                             {AttentionGradCuda, AttentionGradCudaWorkspaceBytes}};
template <AttentionFamily kFamily>
constexpr Kernels kOfFamily = {{ForwardBy<kFamily>, AttentionCudaWorkspaceBytes},
                               {GradientBy<kFamily>, AttentionGradCudaWorkspaceBytes}};

struct Problem {
  Problem(const Case& c, const std::vector<double>& mask, DType dtype, DType wide)
      : tokens(static_cast<int64_t>(mask.size())),
        op{.kind = OpKind::kAttention,
           .attributes = {{"query_heads", c.query_heads},
                          {"key_heads", c.key_heads},
                          {"head_size", c.head_size}}},
        qkv(TestTensor::Random(dtype, {tokens, (c.query_heads + 2 * c.key_heads) * c.head_size}, 1)),
        dout(TestTensor::Random(dtype, {tokens, c.query_heads * c.head_size}, 2)),
        lo(TestTensor::Of(DType::kI32, {tokens}, mask)),
        out(dtype, {tokens, c.query_heads * c.head_size}),
        lse(wide, {tokens, c.query_heads}),
        dqkv(dtype, qkv.view().shape) {}

  void RunPlain() {
    RunKernel(PlainKernel(OpKind::kAttention), op, {qkv.view(), lo.view()}, {out.view(), lse.view()});
    RunKernel(PlainKernel(OpKind::kAttentionGrad), op,
              {dout.view(), qkv.view(), out.view(), lse.view(), lo.view()}, {dqkv.view()});
  }
  void RunCuda(const Kernels& kernels = kChosen, int64_t offset = 0) {
    RunOnDevice(kernels.forward, op, {&qkv, &lo}, {&out, &lse}, offset);
    RunOnDevice(kernels.gradient, op, {&dout, &qkv, &out, &lse, &lo}, {&dqkv}, offset);
  }

  int64_t tokens;
  Op op;
  TestTensor qkv, dout, lo, out, lse, dqkv;
};

void ExpectAgreement(const Case& c, const Mask& mask, DType dtype, int64_t offset = 0) {
  Problem plain(c, mask.lo, DType::kF64, DType::kF64);
  plain.RunPlain();
  const auto expect = [&](const Kernels& kernels, const char* name) {
    Problem cuda(c, mask.lo, dtype, DType::kF32);
    cuda.RunCuda(kernels, offset);
    const bool bf16 = dtype == DType::kBF16;
    const std::string what = mask.name + ", " + c.ToString() + ", " + Name(dtype) + ", " + name;
    EXPECT_LT(FarthestToken(cuda.out, plain.out), bf16 ? kBf16Distance : kF32Distance) << what;
    EXPECT_LT(FarthestToken(cuda.lse, plain.lse), kF32Distance) << what;
    EXPECT_LT(FarthestToken(cuda.dqkv, plain.dqkv), bf16 ? kBf16GradDistance : kF32Distance) << what;
  };
  expect(kChosen, "chosen");
  const bool hopper_head = c.head_size == 64 || c.head_size == 128;
  if (dtype == DType::kBF16 && hopper_head && offset == 0) {
    expect(kOfFamily<AttentionFamily::kTensorCores>, "tensor cores");
  }
}

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16};

TEST(AttentionCudaTest, AgreesWithThePlainKernelUnderEveryMask) {
  for (const Mask& mask : Masks()) {
    ExpectAgreement({2, 1, 17}, mask, DType::kF32);
    for (const int64_t head_size : {64, 96, 128}) ExpectAgreement({2, 1, head_size}, mask, DType::kBF16);
  }
}

// Small enough for the race checker.
TEST(AttentionCudaTest, EveryKernelAgreesWithThePlainKernelOnce) {
  const Mask mask = {"two sequences with a window", Sequences({70, 65}, 60)};
  ExpectAgreement({2, 1, 5}, mask, DType::kF32);
  for (const int64_t head_size : {5, 64, 96, 128}) ExpectAgreement({2, 1, head_size}, mask, DType::kBF16);
}

TEST(AttentionCudaTest, AgreesWithThePlainKernelForEveryHeadSize) {
  const Mask mask = {"two sequences", Sequences({65, 140})};
  for (const int64_t head_size : {1, 7, 8, 12, 16, 32, 33, 64, 72, 80, 96, 104, 120, 128, 129, 136, 257}) {
    for (const DType dtype : kDTypes) ExpectAgreement({1, 1, head_size}, mask, dtype);
  }
}

TEST(AttentionCudaTest, AgreesWithThePlainKernelForEveryGroupOfQueryHeads) {
  const Mask mask = {"two sequences", Sequences({70, 130})};
  for (const Case& c : {Case{1, 1, 64}, {4, 4, 8}, {6, 2, 96}, {8, 1, 16}, {3, 1, 128}}) {
    for (const DType dtype : kDTypes) ExpectAgreement(c, mask, dtype);
  }
}

TEST(AttentionCudaTest, AgreesWithThePlainKernelAroundTheEdgesOfTiles) {
  for (const int tokens : {2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 191, 193, 256, 257}) {
    const Mask mask = {std::to_string(tokens) + " tokens", Sequences({tokens})};
    ExpectAgreement({1, 1, 20}, mask, DType::kF32);
    for (const int64_t head_size : {64, 96, 128}) ExpectAgreement({1, 1, head_size}, mask, DType::kBF16);
  }
}

TEST(AttentionCudaTest, AgreesWithThePlainKernelWhereDocumentsBeginAroundTheEdgesOfTiles) {
  for (const int edge : {32, 64, 96, 128}) {
    for (int first = edge - 2; first <= edge + 2; ++first) {
      const Mask mask = {"a document from " + std::to_string(first) + " on", Sequences({first, 260 - first})};
      ExpectAgreement({1, 1, 5}, mask, DType::kF32);
      for (const int64_t head_size : {64, 128}) ExpectAgreement({1, 1, head_size}, mask, DType::kBF16);
    }
  }
}

TEST(AttentionCudaTest, AgreesWithThePlainKernelForWindowsAroundTheSizesOfTiles) {
  for (const int edge : {32, 64, 128, 256}) {
    for (int window = edge - 2; window <= edge + 2; ++window) {
      const Mask mask = {"a window of " + std::to_string(window), Sequences({270}, window)};
      ExpectAgreement({1, 1, 5}, mask, DType::kF32);
      for (const int64_t head_size : {64, 128}) ExpectAgreement({1, 1, head_size}, mask, DType::kBF16);
    }
  }
}

TEST(AttentionCudaTest, NoTokensAreNoWork) {
  for (const DType dtype : kDTypes) ExpectAgreement({2, 1, 64}, {"no tokens", {}}, dtype);
}

// More than the 32 x 32 tokens that two steps of the search for the last query reach.
TEST(AttentionCudaTest, AgreesWithThePlainKernelOnALongSequence) {
  ExpectAgreement({1, 1, 8}, {"long, two documents", Sequences({1100, 300})}, DType::kBF16);
  ExpectAgreement({1, 1, 8}, {"long, window", Sequences({1400}, 200)}, DType::kBF16);
}

// Each stage of keys is used several times.
TEST(AttentionCudaTest, AgreesWithThePlainKernelWhereStagesAreReused) {
  const Mask mask = {"long", Sequences({650})};
  for (const int64_t head_size : {64, 96, 128}) ExpectAgreement({1, 1, head_size}, mask, DType::kBF16);
}

TEST(AttentionCudaTest, ServesOperandsThatAreNotAlignedToVectors) {
  const Mask mask = {"two sequences", Sequences({70, 30})};
  ExpectAgreement({2, 1, 64}, mask, DType::kBF16, 4);
  ExpectAgreement({2, 1, 64}, mask, DType::kF32, 4);
}

template <AttentionFamily kFamily>
void ExpectSameBitsInEveryOrder(const Case& c, DType dtype) {
  const std::vector<double> lo = Sequences({150, 130}, 100);
  Problem wanted(c, lo, dtype, DType::kF32);
  wanted.RunCuda(kOfFamily<kFamily>);
  InEveryOrder([&] {
    Problem p(c, lo, dtype, DType::kF32);
    p.RunCuda(kOfFamily<kFamily>);
    EXPECT_TRUE(p.out.SameBits(wanted.out)) << c.ToString();
    EXPECT_TRUE(p.lse.SameBits(wanted.lse)) << c.ToString();
    EXPECT_TRUE(p.dqkv.SameBits(wanted.dqkv)) << c.ToString();
  });
}

TEST(AttentionCudaTest, GivesTheSameBitsInEveryOrder) {
  ExpectSameBitsInEveryOrder<AttentionFamily::kGeneral>({4, 2, 20}, DType::kF32);
  for (const int64_t head_size : {64, 96, 128}) {
    ExpectSameBitsInEveryOrder<AttentionFamily::kTensorCores>({4, 2, head_size}, DType::kBF16);
  }
  for (const int64_t head_size : {64, 128}) {
    if (HasHopper()) ExpectSameBitsInEveryOrder<AttentionFamily::kHopper>({4, 2, head_size}, DType::kBF16);
  }
}

TEST(AttentionCudaTest, ChoosesTheBestFamilyForTheOperands) {
  const AttentionFamily best = HasHopper() ? AttentionFamily::kHopper : AttentionFamily::kTensorCores;
  const auto family = [](int64_t head_size, DType dtype, int64_t offset, bool with_slopes = false) {
    const Problem p({2, 1, head_size}, Sequences({3}), dtype, DType::kF32);
    View qkv = p.qkv.view();
    qkv.data = qkv.as<char>() + offset;
    std::vector<View> forward_inputs = {qkv, p.lo.view()};
    const View forward_outputs[] = {p.out.view(), p.lse.view()};
    std::vector<View> inputs = {p.dout.view(), qkv, p.out.view(), p.lse.view(), p.lo.view()};
    if (with_slopes) {
      forward_inputs.push_back(p.lse.view());
      inputs.push_back(p.lse.view());
    }
    const View output = p.dqkv.view();
    const AttentionFamily forward =
        ForwardFamily({p.op, forward_inputs, forward_outputs, false, nullptr, {}, {}, 1});
    EXPECT_EQ(GradientFamily({p.op, inputs, {&output, 1}, false, nullptr, {}, {}, 1}), forward);
    return forward;
  };
  EXPECT_EQ(family(64, DType::kBF16, 0), best);
  EXPECT_EQ(family(128, DType::kBF16, 0), best);
  for (const int64_t head_size : {8, 56, 72, 96, 120}) {
    EXPECT_EQ(family(head_size, DType::kBF16, 0), AttentionFamily::kTensorCores) << head_size;
  }
  for (const int64_t head_size : {1, 20, 63, 136, 256}) {
    EXPECT_EQ(family(head_size, DType::kBF16, 0), AttentionFamily::kGeneral) << head_size;
  }
  EXPECT_EQ(family(64, DType::kF32, 0), AttentionFamily::kGeneral);
  EXPECT_EQ(family(64, DType::kBF16, 2), AttentionFamily::kGeneral);
  // The others know no slopes.
  for (const int64_t head_size : {64, 80, 128}) {
    EXPECT_EQ(family(head_size, DType::kBF16, 0, true), AttentionFamily::kGeneral) << head_size;
  }
}

TEST(AttentionCudaTest, ASequenceDoesNotDependOnItsNeighbours) {
  for (const DType dtype : kDTypes) {
    Problem alone({2, 2, 64}, Sequences({130}), dtype, DType::kF32);
    alone.RunCuda();
    Problem first({2, 2, 64}, Sequences({130, 130}), dtype, DType::kF32);
    first.RunCuda();
    const std::vector<double> wanted = alone.out.Doubles();
    const std::vector<double> got = first.out.Doubles();
    ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), got.begin())) << Name(dtype);
  }
}

// A problem of one head after `change` was made to qkv, one row a token: query, key, value.
Problem RunChanged(DType dtype, const std::function<void(std::vector<double>&)>& change) {
  Problem p({1, 1, 64}, Sequences({150}), dtype, DType::kF32);
  std::vector<double> values = p.qkv.Doubles();
  change(values);
  p.qkv = TestTensor::Of(dtype, p.qkv.view().shape, values);
  p.RunCuda();
  return p;
}

TEST(AttentionCudaTest, LargeScoresDoNotOverflow) {
  for (const DType dtype : kDTypes) {
    const Problem p = RunChanged(dtype, [](std::vector<double>& values) {
      for (int64_t t = 0; t < 150; ++t) {
        for (int64_t i = 0; i < 128; ++i) values[t * 192 + i] *= 100;
      }
    });
    for (const TestTensor* t : {&p.out, &p.lse, &p.dqkv}) {
      for (const double x : t->Doubles()) ASSERT_TRUE(std::isfinite(x)) << Name(dtype);
    }
  }
}

TEST(AttentionCudaTest, ANaNReachesEveryQueryThatSeesIt) {
  for (const DType dtype : kDTypes) {
    const Problem p = RunChanged(dtype, [](std::vector<double>& values) {
      values[70 * 192 + 64] = std::numeric_limits<double>::quiet_NaN();  // a key
    });
    const std::vector<double> out = p.out.Doubles();
    for (int64_t t = 0; t < 150; ++t) EXPECT_EQ(std::isnan(out[t * 64]), t >= 70) << "token " << t;
  }
}

}  // namespace
}  // namespace trireme
