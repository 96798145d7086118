#include "runtime/cpu/kernel_cases.h"

namespace trireme {
namespace {

// Experts that tokens of random logits choose.
Operand ChosenExperts(int64_t t, int64_t e, int64_t k) {
  Operand experts = Saved(RouterCase(t, e, k), 1);
  experts.role = Role::kI32;
  return experts;
}

// The place of each choice among rows sorted by one of five experts, and the choice at each place.
Operand Places(int64_t t, int64_t k, bool inverse, bool drops) {
  return Saved(GroupByExpertCase(t, 5, k, drops), inverse ? 0 : 1);
}

KernelCase Named(KernelCase c, bool drops) {
  if (drops) c.name += "_drops";
  return c;
}

// Of three sequences.
Attributes LossAttributes(int64_t t) {
  return {{"sequence_length", t / 3},
          {"tp_shards", int64_t{1}},
          {"balanced", int64_t{0}},
          {"balance", 0.7},
          {"z", 0.3}};
}

Operand Counts(int64_t t, int64_t e, int64_t k) {
  return Saved(CountChoicesCase(t, e, k), 0);
}

// The second rank of two in a ring, whose tokens are the second and third quarter of three sequences.
KernelCase InARing(KernelCase c) {
  const int64_t tokens = 2 * c.inputs[0].shape[0];
  c.attributes = {{"sequence_length", tokens / 3},
                  {"tp_shards", int64_t{1}},
                  {"balanced", int64_t{1}},
                  {"balance", 0.7},
                  {"z", 0.3}};
  c.mesh[Axis::kCp] = 2;
  c.coordinate[Axis::kCp] = 1;
  c.name += "_ring";
  return c;
}

// Of four experts, the second and the last have no rows; of more, the later they stand the more they have.
Operand ExpertOffsets(int64_t rows, int64_t experts = 4) {
  std::vector<double> offsets;
  if (experts == 4) {
    const int64_t two_thirds = rows * 2 / 3;
    const auto some = static_cast<double>(two_thirds), all = static_cast<double>(rows);
    offsets = {0, some, some, all, all};
  } else {
    for (int64_t e = 0; e <= experts; ++e) {
      const int64_t before = rows * e * e / (experts * experts);
      offsets.push_back(static_cast<double>(before));
    }
  }
  return Operand32(offsets);
}

}  // namespace

KernelCase RouterCase(int64_t t, int64_t e, int64_t k) {
  // Far apart, so that rounding of an operand changes no choice.
  return NewCase(OpKind::kRouter, {}, {RandomOperand(Role::kCompute, {t, e}, 1, 2)},
                 {{Role::kWide, {t, k}}, {Role::kI32, {t, k}}});
}

KernelCase RouterGradCase(int64_t t, int64_t e, int64_t k) {
  return NewCase(
      OpKind::kRouterGrad, {{"num_experts", e}},
      {RandomOperand(Role::kWide, {t, k}, 2), Saved(RouterCase(t, e, k), 0), ChosenExperts(t, e, k)},
      {{Role::kCompute, {t, e}}});
}

KernelCase CountChoicesCase(int64_t t, int64_t e, int64_t k) {
  return NewCase(OpKind::kCountChoices, {{"tp_shards", int64_t{1}}, {"balanced", int64_t{0}}},
                 {ChosenExperts(t, e, k)}, {{Role::kI32, {3, e}}});
}

KernelCase RouterLossCase(int64_t t, int64_t e, int64_t k) {
  return NewCase(OpKind::kRouterLoss, LossAttributes(t),
                 {RandomOperand(Role::kCompute, {t, e}, 1, 2), Counts(t, e, k)}, {{Role::kWide, {t}}});
}

KernelCase RouterLossGradCase(int64_t t, int64_t e, int64_t k) {
  return NewCase(OpKind::kRouterLossGrad, LossAttributes(t),
                 {RandomOperand(Role::kCompute, {t, e}, 1, 2), Counts(t, e, k)},
                 {{Role::kWide, {t}}, {Role::kCompute, {t, e}}});
}

KernelCase DropOverflowCase(int64_t t, int64_t e, int64_t k, int64_t capacity, int cp_rank) {
  KernelCase c = NewCase(OpKind::kDropOverflow,
                         {{"num_experts", e},
                          {"sequences", int64_t{3}},
                          {"capacity", capacity},
                          {"balanced", int64_t{cp_rank >= 0}}},
                         {ChosenExperts(t, e, k)}, {{Role::kI32, {cp_rank < 0 ? t : t / 2, k}}});
  if (cp_rank >= 0) {
    c.mesh[Axis::kCp] = 2;
    c.coordinate[Axis::kCp] = cp_rank;
    absl::StrAppend(&c.name, "_ring", cp_rank);
  }
  return c;
}

KernelCase CountDroppedCase(int64_t choices, int64_t rows) {
  KernelCase c = NewCase(OpKind::kCountDropped, {{"choices", choices}}, {ExpertOffsets(rows), Operand32({7})},
                         {{Role::kI64, {1}, 1}});
  c.inputs[1].role = Role::kI64;
  return c;
}

KernelCase GroupByExpertCase(int64_t t, int64_t e, int64_t k, bool drops) {
  return Named(
      NewCase(OpKind::kGroupByExpert, {}, {{Role::kI32, {t, k}, Integers(t * k, 1, drops ? -1 : 0, e)}},
              {{Role::kI32, {t * k}}, {Role::kI32, {t * k}}, {Role::kI32, {e + 1}}}),
      drops);
}

KernelCase ReceivedOffsetsCase(int64_t ranks, int64_t experts) {
  std::vector<double> offsets;
  for (int64_t i = 0; i < ranks * (experts + 1); ++i) {
    const int64_t offset = i * i / 7;
    offsets.push_back(static_cast<double>(offset));
  }
  return NewCase(OpKind::kReceivedOffsets, {}, {{Role::kI32, {ranks, experts + 1}, offsets}},
                 {{Role::kI32, {experts + 1}}});
}

KernelCase PermuteRowsCase(int64_t t, int64_t d, int64_t k, bool drops) {
  return Named(NewCase(OpKind::kPermuteRows, {},
                       {RandomOperand(Role::kCompute, {t, d}, 1), Places(t, k, true, drops),
                        Places(t, k, false, drops)},
                       {{Role::kCompute, {t * k, d}}}),
               drops);
}

KernelCase PermuteRowsGradCase(int64_t t, int64_t d, int64_t k, bool drops) {
  return Named(NewCase(OpKind::kPermuteRowsGrad, {},
                       {RandomOperand(Role::kCompute, {t * k, d}, 2), Places(t, k, false, drops)},
                       {{Role::kCompute, {t, d}}}),
               drops);
}

KernelCase CombineRowsCase(int64_t t, int64_t d, int64_t k, bool drops) {
  return Named(NewCase(OpKind::kCombineRows, {},
                       {RandomOperand(Role::kCompute, {t * k, d}, 1), RandomOperand(Role::kWide, {t, k}, 2),
                        Places(t, k, false, drops)},
                       {{Role::kCompute, {t, d}}}),
               drops);
}

KernelCase CombineRowsGradCase(int64_t t, int64_t d, int64_t k, bool drops) {
  const KernelCase forward = CombineRowsCase(t, d, k, drops);
  return Named(NewCase(OpKind::kCombineRowsGrad, {},
                       {RandomOperand(Role::kCompute, {t, d}, 3), forward.inputs[0], forward.inputs[1],
                        forward.inputs[2]},
                       {{Role::kCompute, {t * k, d}}, {Role::kWide, {t, k}}}),
               drops);
}

KernelCase GroupedLinearCase(int64_t rows, int64_t n, int64_t k, int64_t experts) {
  return NewCase(OpKind::kGroupedLinear, {},
                 {RandomOperand(Role::kCompute, {rows, k}, 1),
                  RandomOperand(Role::kCompute, {experts * n, k}, 2), ExpertOffsets(rows, experts)},
                 {{Role::kCompute, {rows, n}}});
}

KernelCase GroupedLinearInputGradCase(int64_t rows, int64_t n, int64_t k, int64_t experts) {
  return NewCase(OpKind::kGroupedLinearInputGrad, {},
                 {RandomOperand(Role::kCompute, {rows, n}, 3),
                  RandomOperand(Role::kCompute, {experts * n, k}, 2), ExpertOffsets(rows, experts)},
                 {{Role::kCompute, {rows, k}}});
}

KernelCase GroupedLinearWeightGradCase(int64_t rows, int64_t n, int64_t k, int64_t experts) {
  return NewCase(OpKind::kGroupedLinearWeightGrad, {},
                 {RandomOperand(Role::kCompute, {rows, n}, 3), RandomOperand(Role::kCompute, {rows, k}, 1),
                  ExpertOffsets(rows, experts)},
                 {{Role::kWide, {experts * n, k}}});
}

namespace {

// The same on experts' rows, of which all exist.
KernelCase OnExpertRows(KernelCase c, int64_t rows) {
  c.inputs.push_back(ExpertOffsets(rows));
  c.name += "_of_experts";
  return c;
}

}  // namespace

std::vector<KernelCase> ExpertKernelCases() {
  std::vector<KernelCase> cases = {OnExpertRows(SwiGluCase(21, 37), 21),
                                   OnExpertRows(SwiGluGradCase(21, 37), 21)};
  for (int64_t k : {1, 3}) {
    cases.push_back(RouterCase(21, 5, k));
    cases.push_back(RouterGradCase(21, 5, k));
    cases.push_back(CountChoicesCase(21, 5, k));
    cases.push_back(RouterLossCase(21, 5, k));
    cases.push_back(RouterLossGradCase(21, 5, k));
    for (const bool drops : {false, true}) {
      cases.push_back(GroupByExpertCase(21, 40, k, drops));
      cases.push_back(PermuteRowsCase(21, 37, k, drops));
      cases.push_back(PermuteRowsGradCase(21, 37, k, drops));
      cases.push_back(CombineRowsCase(21, 37, k, drops));
      cases.push_back(CombineRowsGradCase(21, 37, k, drops));
    }
    cases.push_back(DropOverflowCase(21, 5, k, 2, -1));
  }
  // Sequences longer than a warp, and two ranks in a ring.
  cases.push_back(DropOverflowCase(72, 5, 2, 9, -1));
  for (const int rank : {0, 1}) cases.push_back(DropOverflowCase(24, 5, 2, 3, rank));
  cases.push_back(CountDroppedCase(45, 42));
  for (KernelCase (*make)(int64_t, int64_t, int64_t) :
       {CountChoicesCase, RouterLossCase, RouterLossGradCase}) {
    cases.push_back(InARing(make(12, 5, 2)));
  }
  cases.push_back(ReceivedOffsetsCase(3, 4));
  for (int64_t rows : {1, 2, 45}) {
    cases.push_back(GroupedLinearCase(rows, 33, 27));
    cases.push_back(GroupedLinearInputGradCase(rows, 33, 27));
    cases.push_back(GroupedLinearWeightGradCase(rows, 33, 27));
  }
  // Several tiles of a GPU's kernel in each direction; in the router also more experts than a warp has lanes.
  cases.push_back(GroupedLinearCase(300, 136, 72));
  cases.push_back(GroupedLinearInputGradCase(300, 136, 136));
  cases.push_back(GroupedLinearWeightGradCase(300, 136, 136));
  // More experts than a warp looks at together, with rows on either side.
  cases.push_back(GroupedLinearCase(90, 33, 27, 40));
  cases.push_back(GroupedLinearInputGradCase(90, 33, 27, 40));
  cases.push_back(GroupedLinearWeightGradCase(90, 33, 27, 40));
  cases.push_back(RouterCase(21, 40, 35));
  cases.push_back(RouterGradCase(21, 40, 35));
  cases.push_back(RouterLossGradCase(21, 40, 2));
  for (int64_t d : {40, 1600}) {
    cases.push_back(PermuteRowsGradCase(21, d, 3));
    cases.push_back(CombineRowsCase(21, d, 3));
    cases.push_back(CombineRowsGradCase(21, d, 3));
  }
  return cases;
}

std::vector<KernelCase> ExpertCasesForANaN() {
  return {RouterCase(3, 41, 2),
          RouterGradCase(3, 5, 2),
          RouterLossCase(3, 41, 2),
          RouterLossGradCase(3, 41, 2),
          PermuteRowsCase(3, 41, 2),
          PermuteRowsGradCase(3, 41, 2),
          CombineRowsCase(3, 41, 2),
          CombineRowsGradCase(3, 41, 2),
          OnExpertRows(SwiGluCase(21, 37), 21),
          OnExpertRows(SwiGluGradCase(21, 37), 21),
          GroupedLinearCase(21, 33, 27),
          GroupedLinearInputGradCase(21, 33, 27),
          GroupedLinearWeightGradCase(21, 33, 27)};
}

}  // namespace trireme
