#include <cmath>
#include <numeric>
#include <utility>

#include "runtime/alibi.h"
#include "runtime/cpu/kernel_cases.h"

namespace trireme {
namespace {

Operand SlopesOf(HeadShape heads) {
  const std::vector<float> slopes = AlibiSlopes(heads.query_heads);
  return {Role::kF32, {heads.query_heads}, std::vector<double>(slopes.begin(), slopes.end())};
}

// Two stretches of the stream, as a rank of a balanced ring has them.
Operand PlacesFrom(int64_t first, int64_t tokens) {
  std::vector<double> places(tokens);
  for (int64_t i = 0; i < tokens; ++i) places[i] = static_cast<double>(first + i + (i < tokens / 2 ? 0 : 41));
  return Operand32(places);
}

}  // namespace

KernelCase AlibiAttentionCase(int64_t t, HeadShape heads) {
  KernelCase c = AttentionCase(t, heads);
  c.inputs.push_back(SlopesOf(heads));
  c.name += "_Alibi";
  return c;
}

KernelCase AlibiAttentionGradCase(int64_t t, HeadShape heads) {
  const KernelCase forward = AlibiAttentionCase(t, heads);
  KernelCase c = AttentionGradCase(t, heads);
  c.inputs[2] = Saved(forward, 0);
  c.inputs[3] = Saved(forward, 1);
  c.inputs.push_back(forward.inputs[2]);
  c.name += "_Alibi";
  return c;
}

KernelCase AlibiBlockAttentionCase(int64_t t, HeadShape heads, bool gap) {
  KernelCase c = BlockAttentionCase(t, heads, gap);
  c.inputs.insert(c.inputs.end(),
                  {SlopesOf(heads), PlacesFrom(50, t), PlacesFrom(20, c.inputs[1].shape.rows())});
  c.name += "_Alibi";
  return c;
}

KernelCase AlibiBlockAttentionGradCase(int64_t t, HeadShape heads, bool gap) {
  const KernelCase forward = AlibiBlockAttentionCase(t, heads, gap);
  KernelCase c = BlockAttentionGradCase(t, heads, gap);
  Operand out = Saved(forward, 0), lse = Saved(forward, 1);
  out.role = Role::kCompute;
  for (double& v : lse.values) v = std::isfinite(v) ? v + 0.5 : 1;
  c.inputs[2] = std::move(out);
  c.inputs[3] = std::move(lse);
  c.inputs.insert(c.inputs.end(), forward.inputs.begin() + 4, forward.inputs.end());
  c.name += "_Alibi";
  return c;
}

std::vector<KernelCase> AlibiKernelCases() {
  std::vector<KernelCase> cases;
  const HeadShape heads = {6, 2, 9};
  for (int64_t t : {1, 7, 70}) {
    cases.push_back(AlibiAttentionCase(t, heads));
    cases.push_back(AlibiAttentionGradCase(t, heads));
  }
  for (bool gap : {false, true}) {
    cases.push_back(AlibiBlockAttentionCase(gap ? 70 : 7, heads, gap));
    cases.push_back(AlibiBlockAttentionGradCase(gap ? 70 : 7, heads, gap));
  }
  return cases;
}

}  // namespace trireme
