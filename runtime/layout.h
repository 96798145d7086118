// How a value lies on the mesh, and the rules by which layouts propagate through ops.
// The rules are complete: what they do not allow is refused while recording, before a byte is allocated.
#ifndef TRIREME_RUNTIME_LAYOUT_H_
#define TRIREME_RUNTIME_LAYOUT_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/axis.h"

namespace trireme {

// How a value lies along one mesh axis.
//   Replicate   the same value on every rank; its gradient is Partial
//   Invariant   the same value and the same gradient on every rank
//   Shard(dim)  each rank holds its part of the tensor's dim `dim`; so does the gradient
//   Partial     the value is the sum over the ranks; its gradient is Replicate
//   Varying     different data without global meaning; so is the gradient
struct Placement {
  enum class Kind : uint8_t { kReplicate, kInvariant, kShard, kPartial, kVarying };
  Kind kind = Kind::kInvariant;
  int8_t dim = 0;  // of kShard

  bool operator==(const Placement& other) const {
    return kind == other.kind && (kind != Kind::kShard || dim == other.dim);
  }
  bool operator!=(const Placement& other) const { return !(*this == other); }
  bool is_shard() const { return kind == Kind::kShard; }

  // "R", "I", "S0", "P", "V".
  std::string ToString() const;
};

inline constexpr Placement kReplicate = {Placement::Kind::kReplicate, 0};
inline constexpr Placement kInvariant = {Placement::Kind::kInvariant, 0};
inline constexpr Placement kPartial = {Placement::Kind::kPartial, 0};
constexpr Placement Shard(int dim) {
  return {Placement::Kind::kShard, static_cast<int8_t>(dim)};
}

// One placement an axis. pp and edp are no placements (a stage records its own Program; edp is what ep leaves
// of dp and cp): they stay Invariant. So does ep, but for experts: their matrices and rows are Shard(0) on
// it, each rank with those of its experts, and on dp and cp what they are on edp.
class Layout {
 public:
  Layout() = default;  // Invariant everywhere
  // The same placement on dp and cp, which shard tokens alike, and one on tp.
  Layout(Placement tokens, Placement tp) {
    (*this)[Axis::kDp] = tokens;
    (*this)[Axis::kCp] = tokens;
    (*this)[Axis::kTp] = tp;
  }

  const Placement& operator[](Axis axis) const { return of_[static_cast<int>(axis)]; }
  Placement& operator[](Axis axis) { return of_[static_cast<int>(axis)]; }
  bool operator==(const Layout& other) const { return of_ == other.of_; }
  bool operator!=(const Layout& other) const { return !(*this == other); }

  // This layout with another placement on one axis.
  Layout With(Axis axis, Placement placement) const {
    Layout layout = *this;
    layout[axis] = placement;
    return layout;
  }

  // dp, cp and tp in this order: "S0.S0.I"; and ep if it is not Invariant: "S0.S0.R.S0".
  std::string ToString() const;

 private:
  std::array<Placement, kNumAxes> of_ = {};
};

// The layout of the gradient of a value: Replicate and Partial change places, the others stay.
Layout Dual(const Layout& layout);

// What a function does with a Partial operand. kProduct: linear in each operand, so one Partial operand makes
// a Partial result where all others are Replicate. kSum: adds its operands, so all or none are Partial.
// kNonlinear: refuses Partial.
enum class Linearity { kProduct, kSum, kNonlinear };

// The layout of an op's result from its operands', by the op's dims: `signature` names every dim of every
// operand by one letter, as in "tk,nk->tn"; a letter that the result lacks is contracted (summed over). An
// upper-case letter must not be sharded on any axis. An operand prefixed with '~' has no gradient (ids,
// masks): there Replicate and Invariant are one type. Rules, an axis at a time:
//   all Invariant -> Invariant; Invariant beside anything else is refused
//   Shard on letter l: every operand that has l is sharded on it, every other is Replicate;
//     -> Shard where the result has l, else Partial (kNonlinear: refused)
//   Partial -> by `linearity`
//   all Replicate -> Replicate
// Refusals are InvalidArgument and name the axis, the signature and the layouts.
absl::StatusOr<Layout> Propagate(const char* signature, Linearity linearity,
                                 absl::Span<const Layout> operands);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_LAYOUT_H_
