// Gradients on a grid: whole multiples of one power of two, kept as int64. Their sums are exact, so they have
// the same bits in any order: over micro-batches, replicas, shards and buckets.
#ifndef TRIREME_RUNTIME_OPS_GRADIENT_GRID_H_
#define TRIREME_RUNTIME_OPS_GRADIENT_GRID_H_

#include <cstdint>

#include "runtime/recorder.h"

namespace trireme {

struct GradientGrid {
  int64_t exponent = 0;  // the quantum is 2^exponent
  int64_t limit = 0;     // what a part adds to an element must be less than so many quanta

  // For gradients that are sums over the `tokens` of a step, and are added up of `num_parts`: micro-batches,
  // or what each of the ranks that share one (cp, tp) makes of it. A part adds to a parameter twice at most
  // (a tied one). The quantum is 2^-52 of a mean over tokens, rounded up to a power of two, and whatever
  // keeps to the limit cannot overflow. A part keeps to it while it is below 1,000 tokens / num_parts
  // in every element.
  static GradientGrid For(int64_t tokens, int64_t num_parts);
};

// A sum of squares of int64 takes up to 126 bits an element. It is kept as whole numbers of base 2^32, the
// lowest first, each in an int64: those of many buckets and ranks can be added before anything is carried.
inline constexpr int64_t kGridLimbs = 6;
// Behind the limbs: how many ranks met a value that the grid does not hold.
inline constexpr int64_t kGridSums = kGridLimbs + 1;

// kAddToGrid: (x [..] wide, overflow i64 [1]) -> y i64 of the same shape, a parameter gradient: y = q or
// y += q, where q is x / 2^exponent, rounded to nearest even; and overflow, in place: set to 1 where some
// |q| >= limit or x is not finite; such an element adds 0. Attributes: exponent, limit
void AddToGrid(Tensor x, Tensor overflow, Tensor gradient, const GradientGrid& grid, bool always_accumulates);

// kGridSquaredNorm: (gradient i64 [n]) -> i64 [1, kGridLimbs] = sum of squares, carried. Written to `out`, a
// row of a table.
void GridSquaredNorm(Tensor gradient, Tensor out);

// kGridSum: (norms i64 [buckets, kGridLimbs], overflow i64 [1]) -> sums i64 [kGridSums]: the columns' sums
// and overflow; and overflow, in place: 0, for the next step.
void GridSum(Tensor norms, Tensor overflow, Tensor sums);

// kGridNorm: (sums i64 [kGridSums], of all ranks) -> f64 [1]: the squared norm; infinite where anything
// overflowed. Attributes: exponent
Tensor GridNorm(Tensor sums, const GradientGrid& grid);

// kFromGrid: (gradient i64 [n]) -> wide [n] = gradient * 2^exponent, rounded to nearest even (to f32: after
// f64). Attributes: exponent
Tensor FromGrid(Tensor gradient, const GradientGrid& grid);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OPS_GRADIENT_GRID_H_
