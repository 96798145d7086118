#include "runtime/cpu/kernel_cases.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "runtime/cpu/kernels.h"
#include "runtime/op_table.h"
#include "runtime/ops/cross_entropy.h"
#include "runtime/random.h"

namespace trireme {
namespace {

Attributes HeadAttributes(HeadShape heads) {
  return {{"query_heads", heads.query_heads}, {"key_heads", heads.key_heads}, {"head_size", heads.head_size}};
}

}  // namespace

KernelCase LinearCase(int64_t t, int64_t n, int64_t k, bool bias) {
  Operand b = RandomOperand(Role::kWide, {n}, 3);
  b.absent = !bias;
  return NewCase(OpKind::kLinear, {},
                 {RandomOperand(Role::kCompute, {t, k}, 1), RandomOperand(Role::kCompute, {n, k}, 2), b},
                 {{Role::kCompute, {t, n}}});
}

KernelCase LinearInputGradCase(int64_t t, int64_t n, int64_t k) {
  return NewCase(OpKind::kLinearInputGrad, {},
                 {RandomOperand(Role::kCompute, {t, n}, 1), RandomOperand(Role::kCompute, {n, k}, 2)},
                 {{Role::kCompute, {t, k}}});
}

KernelCase LinearWeightGradCase(int64_t t, int64_t n, int64_t k) {
  return NewCase(OpKind::kLinearWeightGrad, {},
                 {RandomOperand(Role::kCompute, {t, n}, 1), RandomOperand(Role::kCompute, {t, k}, 2)},
                 {{Role::kWide, {n, k}}});
}

KernelCase ColumnSumCase(int64_t t, int64_t n) {
  return NewCase(OpKind::kColumnSum, {}, {RandomOperand(Role::kCompute, {t, n}, 1)}, {{Role::kWide, {n}}});
}

KernelCase AddCase(int64_t t, int64_t d) {
  return NewCase(OpKind::kAdd, {},
                 {RandomOperand(Role::kCompute, {t, d}, 1), RandomOperand(Role::kCompute, {t, d}, 2)},
                 {{Role::kCompute, {t, d}}});
}

KernelCase CastCase(Role from, Role to, int64_t n) {
  KernelCase c = NewCase(OpKind::kCast, {}, {RandomOperand(from, {n}, 1)}, {{to, {n}}});
  absl::StrAppend(&c.name, "_", static_cast<int>(from), "_", static_cast<int>(to));
  return c;
}

KernelCase AccumulateCase(int64_t n) {
  return NewCase(OpKind::kAccumulate, {}, {RandomOperand(Role::kWide, {n}, 1)}, {{Role::kWide, {n}}});
}

KernelCase GatherRowsCase(int64_t t, int64_t d, int64_t n) {
  return NewCase(OpKind::kGatherRows, {},
                 {RandomOperand(Role::kCompute, {t, d}, 1), Operand32(Integers(n, 2, 0, t))},
                 {{Role::kCompute, {n, d}}});
}

KernelCase KeepOnFirstCase(int64_t n, int coordinate) {
  KernelCase c = NewCase(OpKind::kKeepOnFirst, {{"axis", static_cast<int64_t>(Axis::kTp)}},
                         {RandomOperand(Role::kWide, {n}, 1)}, {{Role::kWide, {n}}});
  c.mesh[Axis::kTp] = 2;
  c.coordinate[Axis::kTp] = coordinate;
  absl::StrAppend(&c.name, "_at", coordinate);
  return c;
}

// With large arguments, where the exponential must not overflow.
KernelCase GeluCase(int64_t t, int64_t f) {
  KernelCase c =
      NewCase(OpKind::kGelu, {}, {RandomOperand(Role::kCompute, {t, f}, 1, 3)}, {{Role::kCompute, {t, f}}});
  c.inputs[0].values.front() = -60;
  c.inputs[0].values.back() = 60;
  return c;
}

KernelCase GeluGradCase(int64_t t, int64_t f) {
  return NewCase(OpKind::kGeluGrad, {}, {RandomOperand(Role::kCompute, {t, f}, 2), GeluCase(t, f).inputs[0]},
                 {{Role::kCompute, {t, f}}});
}

KernelCase SwiGluCase(int64_t t, int64_t f) {
  KernelCase c = NewCase(OpKind::kSwiGlu, {}, {RandomOperand(Role::kCompute, {t, 2 * f}, 1, 3)},
                         {{Role::kCompute, {t, f}}});
  // Where the exponential must not overflow, beside others that set the scale.
  if (t * f > 1) c.inputs[0].values[0] = -100;
  return c;
}

KernelCase SwiGluGradCase(int64_t t, int64_t f) {
  return NewCase(OpKind::kSwiGluGrad, {},
                 {RandomOperand(Role::kCompute, {t, f}, 2), SwiGluCase(t, f).inputs[0]},
                 {{Role::kCompute, {t, 2 * f}}});
}

KernelCase DropoutCase(int64_t t, int64_t d) {
  // Indices beyond 32 bits too: they are global.
  std::vector<double> index = Integers(t, 2, 0, int64_t{1} << 40);
  return NewCase(
      OpKind::kDropout,
      {{"rate", 0.3}, {"seed", int64_t{17}}, {"name", static_cast<int64_t>(HashName("h.3.dropout"))}},
      {RandomOperand(Role::kCompute, {t, d}, 1), {Role::kI64, {t}, index}}, {{Role::kCompute, {t, d}}});
}

KernelCase RopeCase(int64_t t, HeadShape heads, bool inverse) {
  // Two sequences, one that begins late, and a jump.
  std::vector<double> positions(t);
  for (int64_t i = 0; i < t; ++i)
    positions[i] = static_cast<double>(i < t / 2 ? i : 5000 + i + (i > 3 * t / 4 ? 7 : 0));
  KernelCase c = NewCase(OpKind::kRope,
                         {{"query_heads", heads.query_heads},
                          {"key_heads", heads.key_heads},
                          {"head_size", heads.head_size},
                          {"theta", 10000.0},
                          {"inverse", int64_t{inverse}}},
                         {RandomOperand(Role::kCompute, {t, heads.columns()}, 1), Operand32(positions)},
                         {{Role::kCompute, {t, heads.columns()}}});
  absl::StrAppend(&c.name, inverse ? "_inverse" : "");
  return c;
}

KernelCase AttentionCase(int64_t t, HeadShape heads) {
  std::vector<double> lo(t);
  for (int64_t q = 0; q < t; ++q) lo[q] = q < t / 2 ? 0 : static_cast<double>(std::max(t / 2, q - 4));
  return NewCase(
      OpKind::kAttention, HeadAttributes(heads),
      {RandomOperand(Role::kCompute, {t, heads.columns()}, 1), Operand32(lo)},
      {{Role::kCompute, {t, heads.query_heads * heads.head_size}}, {Role::kWide, {t, heads.query_heads}}});
}

KernelCase AttentionGradCase(int64_t t, HeadShape heads) {
  const KernelCase forward = AttentionCase(t, heads);
  return NewCase(OpKind::kAttentionGrad, forward.attributes,
                 {RandomOperand(Role::kCompute, forward.outputs[0].shape, 2), forward.inputs[0],
                  Saved(forward, 0), Saved(forward, 1), forward.inputs[1]},
                 {{Role::kCompute, forward.inputs[0].shape}});
}

KernelCase BlockAttentionCase(int64_t t, HeadShape heads, bool gap) {
  const int64_t keys = t + 3;
  std::vector<double> lo(t), hi(t);
  for (int64_t q = 0; q < t; ++q) {
    const bool early = q < t / 2;
    lo[q] = early ? 0 : static_cast<double>(std::max<int64_t>(1, q - 70));
    hi[q] = static_cast<double>(early ? q / 3 : keys - 1);
    if (gap) {
      const int64_t cut = std::min<int64_t>(6, keys / 2);
      lo[q] = static_cast<double>(q < t / 3 ? 0 : q < t * 2 / 3 ? cut : std::min(cut + 32, keys));
      hi[q] = static_cast<double>(q < t * 2 / 3 ? cut : keys);
    }
  }
  const int64_t width = heads.key_heads * heads.head_size;
  return NewCase(
      OpKind::kBlockAttention, HeadAttributes(heads),
      {RandomOperand(Role::kCompute, {t, heads.columns()}, 1),
       RandomOperand(Role::kCompute, {keys, 2 * width}, 2), Operand32(lo), Operand32(hi)},
      {{Role::kWide, {t, heads.query_heads * heads.head_size}}, {Role::kWide, {t, heads.query_heads}}});
}

// lse as if each query saw other keys besides: finite for those that see none here.
KernelCase BlockAttentionGradCase(int64_t t, HeadShape heads, bool gap) {
  const KernelCase forward = BlockAttentionCase(t, heads, gap);
  Operand out = Saved(forward, 0), lse = Saved(forward, 1);
  out.role = Role::kCompute;
  for (double& v : lse.values) v = std::isfinite(v) ? v + 0.5 : 1;
  return NewCase(OpKind::kBlockAttentionGrad, forward.attributes,
                 {RandomOperand(Role::kCompute, out.shape, 3), forward.inputs[0], out, lse, forward.inputs[1],
                  forward.inputs[2], forward.inputs[3]},
                 {{Role::kWide, out.shape}, {Role::kWide, forward.inputs[1].shape}});
}

KernelCase MergeAttentionCase(int64_t t, int64_t heads, int64_t head_size) {
  const Shape out = {t, heads * head_size}, lse = {t, heads};
  KernelCase c = NewCase(OpKind::kMergeAttention, HeadAttributes({heads, heads, head_size}),
                         {RandomOperand(Role::kWide, out, 1), RandomOperand(Role::kWide, lse, 2),
                          RandomOperand(Role::kWide, out, 3), RandomOperand(Role::kWide, lse, 4, 20)},
                         {{Role::kWide, out}, {Role::kWide, lse}});
  c.inputs[3].values.back() = -std::numeric_limits<double>::infinity();
  return c;
}

KernelCase TakeColumnsCase(int64_t t, int64_t d, int64_t first, int64_t columns) {
  return NewCase(OpKind::kTakeColumns, {{"first", first}}, {RandomOperand(Role::kCompute, {t, d}, 1)},
                 {{Role::kCompute, {t, columns}}});
}

KernelCase JoinColumnsCase(int64_t t, int64_t m, int64_t n) {
  return NewCase(OpKind::kJoinColumns, {},
                 {RandomOperand(Role::kWide, {t, m}, 1), RandomOperand(Role::kWide, {t, n}, 2)},
                 {{Role::kCompute, {t, m + n}}});
}

KernelCase SplitHeadsCase(int64_t t, HeadShape heads, int64_t parts, bool join) {
  const Attributes attributes = {{"query_heads", heads.query_heads},
                                 {"key_heads", heads.key_heads},
                                 {"head_size", heads.head_size},
                                 {"parts", parts}};
  const Shape whole = {t, heads.columns()}, blocks = {t * parts, heads.columns() / parts};
  return NewCase(join ? OpKind::kJoinHeads : OpKind::kSplitHeads, attributes,
                 {RandomOperand(Role::kCompute, join ? blocks : whole, 1)},
                 {{Role::kCompute, join ? whole : blocks}});
}

KernelCase EmbeddingCase(int64_t t, int64_t v, int64_t d, bool sharded) {
  KernelCase c =
      NewCase(OpKind::kEmbedding, {{"sharded", int64_t{sharded}}},
              {Operand32(Integers(t, 1, 0, sharded ? 3 * v : v)), RandomOperand(Role::kCompute, {v, d}, 2)},
              {{Role::kCompute, {t, d}}});
  c.mesh[Axis::kTp] = 3;
  c.coordinate[Axis::kTp] = 1;
  absl::StrAppend(&c.name, "_", v, "_", d, sharded ? "_sharded" : "");
  return c;
}

KernelCase EmbeddingGradCase(int64_t t, int64_t v, int64_t d, bool sharded) {
  const KernelCase forward = EmbeddingCase(t, v, d, sharded);
  KernelCase c =
      NewCase(OpKind::kEmbeddingGrad, forward.attributes,
              {RandomOperand(Role::kCompute, {t, d}, 3), forward.inputs[0]}, {{Role::kWide, {v, d}}});
  c.mesh = forward.mesh;
  c.coordinate = forward.coordinate;
  absl::StrAppend(&c.name, "_", v, sharded ? "_sharded" : "");
  return c;
}

KernelCase SoftmaxStatisticsCase(int64_t t, int64_t columns, int ranks) {
  std::vector<double> targets = Integers(t, 2, 0, std::max<int64_t>(1, ranks * columns - 1));
  if (t > 2) targets[1] = -100;
  KernelCase c = NewCase(OpKind::kSoftmaxStatistics, {{"vocabulary", ranks * columns - 1}},
                         {RandomOperand(Role::kCompute, {t, columns}, 1, 4), Operand32(targets)},
                         {{Role::kWide, {t, 3}}});
  c.mesh[Axis::kTp] = ranks;
  c.coordinate[Axis::kTp] = ranks - 1;
  absl::StrAppend(&c.name, "_of", ranks);
  return c;
}

namespace {

// The statistics of all ranks: what this rank's kernel gives, and for the others numbers that could be.
Operand AllStatistics(const KernelCase& c, int64_t t, int ranks) {
  Operand all = {Role::kWide, {ranks * t, 3}, {}};
  for (int r = 0; r + 1 < ranks; ++r) {
    for (int64_t i = 0; i < t; ++i) {
      all.values.insert(all.values.end(), {0.5 * r + 0.1 * static_cast<double>(i % 7), 3.0 + r, 0.25 * r});
    }
  }
  const std::vector<double> own = Saved(c, 0).values;
  all.values.insert(all.values.end(), own.begin(), own.end());
  return all;
}

}  // namespace

KernelCase CrossEntropyLossCase(int64_t t, int64_t columns, int ranks, double z_loss) {
  const KernelCase statistics = SoftmaxStatisticsCase(t, columns, ranks);
  KernelCase c = NewCase(OpKind::kCrossEntropyLoss, {{"z_loss", z_loss}},
                         {AllStatistics(statistics, t, ranks), statistics.inputs[1]},
                         {{Role::kWide, z_loss > 0 ? Shape{t, kNumLossTerms} : Shape{t}}});
  absl::StrAppend(&c.name, z_loss > 0 ? "_z" : "");
  return c;
}

KernelCase CrossEntropyGradCase(int64_t t, int64_t columns, int ranks, double z_loss) {
  const KernelCase statistics = SoftmaxStatisticsCase(t, columns, ranks);
  KernelCase c = NewCase(
      OpKind::kCrossEntropyGrad, {{"vocabulary", ranks * columns - 1}, {"z_loss", z_loss}},
      {statistics.inputs[0], AllStatistics(statistics, t, ranks), statistics.inputs[1]},
      {{Role::kCompute, {t, columns}}, {Role::kWide, z_loss > 0 ? Shape{t, kNumLossTerms} : Shape{t}}});
  c.mesh = statistics.mesh;
  c.coordinate = statistics.coordinate;
  absl::StrAppend(&c.name, "_of", ranks, z_loss > 0 ? "_z" : "");
  return c;
}

KernelCase LossSumCase(Role of, int64_t t) {
  return NewCase(OpKind::kLossSum, {}, {RandomOperand(of, {t}, 1)}, {{Role::kF64, {1}}});
}

KernelCase LossTermSumsCase(int64_t t) {
  KernelCase c = NewCase(OpKind::kLossSum, {}, {RandomOperand(Role::kWide, {t, kNumLossTerms}, 1)},
                         {{Role::kF64, {kNumLossTerms}}});
  absl::StrAppend(&c.name, "_terms");
  return c;
}

namespace {

// One element, less than a vector, around vectors, more than one range of elements, more than one partial sum
// of rows, more columns than partial sums are added at a time, more vectors than a block of a GPU takes of a
// row.
void AddRowCases(std::vector<KernelCase>* cases) {
  const std::vector<std::pair<int64_t, int64_t>> sizes = {
      {1, 1}, {3, 3}, {17, 127}, {2, 128}, {5, 129}, {64, 33}, {130, 17}, {300, 127}, {67, 1100}, {5, 2072}};
  for (const auto& [t, d] : sizes) {
    for (KernelCase (*make)(int64_t, int64_t) :
         {ColumnSumCase, AddCase, GeluCase, GeluGradCase, SwiGluCase, SwiGluGradCase, DropoutCase,
          RmsNormCase, RmsNormGradCase, LayerNormCase, LayerNormGradCase, AddRmsNormCase, AddRmsNormGradCase,
          AddLayerNormCase, AddLayerNormGradCase}) {
      // Of one column a norm leaves nothing but rounding errors.
      if (d == 1 && (make == RmsNormGradCase || make == LayerNormCase || make == LayerNormGradCase ||
                     make == AddLayerNormCase || make == AddLayerNormGradCase)) {
        continue;
      }
      cases->push_back(make(t, d));
    }
    for (int ranks : {1, 2}) {
      cases->push_back(SoftmaxStatisticsCase(t, d + 1, ranks));
      for (double z_loss : {0.0, 0.03}) cases->push_back(CrossEntropyGradCase(t, d + 1, ranks, z_loss));
    }
    for (double z_loss : {0.0, 0.03}) cases->push_back(CrossEntropyLossCase(t, d + 1, 3, z_loss));
    cases->push_back(GatherRowsCase(t, d, 5));
  }
  for (const HeadShape& heads : {HeadShape{4, 2, 3}, HeadShape{8, 4, 8}, HeadShape{2, 0, 10}}) {
    for (const bool join : {false, true}) cases->push_back(SplitHeadsCase(7, heads, 2, join));
  }
  cases->push_back(SplitHeadsCase(130, {8, 4, 16}, 4, false));
  cases->push_back(SplitHeadsCase(130, {8, 4, 16}, 4, true));
  cases->push_back(TakeColumnsCase(5, 9, 4, 3));
  cases->push_back(JoinColumnsCase(5, 9, 4));
  cases->push_back(ColumnSumCase(300, 264));
  cases->push_back(GatherRowsCase(9, 5001, 5));
  // A rank that holds padding alone.
  cases->push_back(SoftmaxStatisticsCase(3, 1, 2));
  cases->push_back(CrossEntropyGradCase(3, 1, 2));
}

void AddEmbeddingCases(std::vector<KernelCase>* cases) {
  for (bool sharded : {false, true}) {
    cases->push_back(EmbeddingCase(50, 31, 17, sharded));
    cases->push_back(EmbeddingCase(50, 31, 24, sharded));
    // Tokens that read no row of this rank: all in one chunk of a GPU's sum, or in two.
    cases->push_back(EmbeddingGradCase(20, 31, 17, sharded));
    cases->push_back(EmbeddingGradCase(50, 31, 17, sharded));
    // More than a range of columns, and of what is zeroed.
    cases->push_back(EmbeddingGradCase(40, 900, 300, sharded));
    // Rows that hundreds of tokens read; more tokens than a block of a GPU sorts.
    cases->push_back(EmbeddingGradCase(500, 3, 40, sharded));
    cases->push_back(EmbeddingGradCase(5000, 700, 8, sharded));
  }
  // More columns than a block of a GPU takes; ids of three digits of its sort.
  cases->push_back(EmbeddingGradCase(70, 5, 1032, false));
  cases->push_back(EmbeddingGradCase(33, 1 << 18, 1, true));
}

}  // namespace

std::vector<KernelCase> AllKernelCases() {
  std::vector<KernelCase> cases;
  for (KernelCase& c : ExpertKernelCases()) cases.push_back(std::move(c));
  for (KernelCase& c : AlibiKernelCases()) cases.push_back(std::move(c));
  for (KernelCase& c : SharedHeadKernelCases()) cases.push_back(std::move(c));
  for (KernelCase& c : GridKernelCases()) cases.push_back(std::move(c));
  for (KernelCase& c : FusedProductKernelCases()) cases.push_back(std::move(c));
  AddRowCases(&cases);
  AddEmbeddingCases(&cases);
  for (const HeadShape heads : {HeadShape{1, 1, 2}, {3, 3, 32}, {4, 2, 34}, {6, 2, 16}}) {
    for (int64_t t : {1, 7, 131}) {
      cases.push_back(RopeCase(t, heads, false));
      cases.push_back(RopeCase(t, heads, true));
      cases.push_back(AttentionCase(t, heads));
      cases.push_back(AttentionGradCase(t, heads));
      for (bool gap : {false, true}) {
        if (t == 1) continue;
        cases.push_back(BlockAttentionCase(t, heads, gap));
        cases.push_back(BlockAttentionGradCase(t, heads, gap));
      }
      cases.push_back(MergeAttentionCase(t, heads.query_heads, heads.head_size));
      cases.back().name += absl::StrCat("_", heads.query_heads, "_", heads.key_heads);
    }
  }
  for (bool inverse : {false, true}) cases.push_back(RopeCase(9, {20, 4, 64}, inverse));
  for (bool bias : {false, true}) cases.push_back(LinearCase(bias ? 17 : 16, 33, 127, bias));
  cases.push_back(LinearInputGradCase(17, 33, 127));
  cases.push_back(LinearWeightGradCase(17, 33, 127));
  for (int64_t n : {1, 17, 40000}) {
    for (Role from : {Role::kCompute, Role::kWide, Role::kF64}) {
      for (Role to : {Role::kCompute, Role::kWide, Role::kF64}) cases.push_back(CastCase(from, to, n));
    }
    cases.push_back(AccumulateCase(n));
    for (Role of : {Role::kWide, Role::kF64}) cases.push_back(LossSumCase(of, n));
    cases.push_back(LossTermSumsCase(n));
    cases.push_back(AdamWCase(n, true));
    cases.push_back(AdamWCase(n, false));
    for (bool exact : {false, true}) cases.push_back(RoundedAdamWCase(n, exact));
    cases.push_back(SquaredNormCase(n));
  }
  cases.push_back(SquaredNormCase(150001));
  cases.push_back(StepFactorsCase(1e10));
  cases.push_back(StepFactorsCase(std::numeric_limits<double>::infinity()));
  for (int coordinate : {0, 1}) cases.push_back(KeepOnFirstCase(19, coordinate));
  for (KernelCase& c : cases) RoundOperands(&c);
  return cases;
}

std::vector<KernelCase> WideKernelCases() {
  std::vector<KernelCase> cases;
  // More rows than a persistent grid takes at a time, and rows wider than the registers of a block: those of
  // f32, those of bf16, in backward and in forward, whole vectors and not.
  const std::vector<std::pair<int64_t, int64_t>> sizes = {{2200, 24}, {133, 4104}, {3, 8200},
                                                          {3, 8203},  {2, 16392},  {2, 16397}};
  for (const auto& [t, d] : sizes) {
    for (KernelCase (*make)(int64_t, int64_t) :
         {RmsNormCase, RmsNormGradCase, LayerNormCase, LayerNormGradCase, AddRmsNormCase, AddRmsNormGradCase,
          AddLayerNormCase, AddLayerNormGradCase}) {
      cases.push_back(make(t, d));
    }
  }
  // More columns than a block takes at a time.
  for (int64_t columns : {20001, 20008}) {
    cases.push_back(SoftmaxStatisticsCase(2, columns, 2));
    cases.push_back(CrossEntropyGradCase(2, columns, 2));
  }
  cases.push_back(AdamWCase(700001, true));
  for (KernelCase& c : cases) RoundOperands(&c);
  return cases;
}

std::vector<KernelCase> CasesWithANaN() {
  std::vector<KernelCase> numbers = {GeluCase(3, 41),
                                     GeluGradCase(3, 41),
                                     SwiGluCase(3, 41),
                                     SwiGluGradCase(3, 41),
                                     RmsNormCase(3, 41),
                                     RmsNormGradCase(3, 41),
                                     LayerNormCase(3, 41),
                                     LayerNormGradCase(3, 41),
                                     AddRmsNormCase(3, 41),
                                     AddRmsNormGradCase(3, 41),
                                     AddLayerNormCase(3, 41),
                                     AddLayerNormGradCase(3, 41),
                                     LinearGeluCase(3, 5, 41, true, false),
                                     LinearInputGeluGradCase(3, 41, 5),
                                     LinearWeightBiasGradCase(3, 41, 5),
                                     AddCase(3, 41),
                                     CastCase(Role::kWide, Role::kCompute, 123),
                                     ColumnSumCase(3, 41),
                                     SoftmaxStatisticsCase(3, 41, 1),
                                     CrossEntropyGradCase(3, 41, 1),
                                     SquaredNormCase(123),
                                     EmbeddingGradCase(3, 7, 41, false),
                                     RopeCase(3, {1, 1, 34}, false)};
  for (KernelCase& c : ExpertCasesForANaN()) numbers.push_back(std::move(c));
  std::vector<KernelCase> cases;
  for (const KernelCase& c : numbers) {
    // The last column of the logits is padding.
    for (int64_t at : {int64_t{0}, c.inputs[0].shape.num_elements() - 2}) {
      cases.push_back(c);
      cases.back().inputs[0].values[at] = std::nan("");
    }
  }
  return cases;
}

}  // namespace trireme
