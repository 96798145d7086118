#include "runtime/layout.h"

#include <cctype>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace trireme {

std::string Placement::ToString() const {
  switch (kind) {
    case Kind::kReplicate:
      return "R";
    case Kind::kInvariant:
      return "I";
    case Kind::kShard:
      return absl::StrCat("S", static_cast<int>(dim));
    case Kind::kPartial:
      return "P";
    case Kind::kVarying:
      return "V";
  }
  return "?";
}

std::string Layout::ToString() const {
  const Placement& ep = (*this)[Axis::kEp];
  return absl::StrCat((*this)[Axis::kDp].ToString(), ".", (*this)[Axis::kCp].ToString(), ".",
                      (*this)[Axis::kTp].ToString(),
                      ep == kInvariant ? "" : absl::StrCat(".", ep.ToString()));
}

Layout Dual(const Layout& layout) {
  Layout dual = layout;
  for (Axis axis : kAllAxes) {
    if (layout[axis] == kReplicate) dual[axis] = kPartial;
    if (layout[axis] == kPartial) dual[axis] = kReplicate;
  }
  return dual;
}

namespace {

// A signature taken apart: the letters of each operand and of the result.
struct Signature {
  std::vector<std::string> operands;
  std::vector<bool> has_gradient;
  std::string result;
};

Signature Parse(const char* text) {
  Signature signature;
  const std::vector<std::string> sides = absl::StrSplit(text, "->");
  for (const std::string& operand : std::vector<std::string>(absl::StrSplit(sides[0], ','))) {
    const bool marked = !operand.empty() && operand[0] == '~';
    signature.operands.push_back(marked ? operand.substr(1) : operand);
    signature.has_gradient.push_back(!marked);
  }
  signature.result = sides[1];
  return signature;
}

using Kind = Placement::Kind;

absl::StatusOr<Placement> PropagateShard(const Signature& signature, Linearity linearity,
                                         const std::vector<Placement>& operands, char letter) {
  for (int i = 0; i < operands.size(); ++i) {
    const size_t dim = signature.operands[i].find(letter);
    if (dim == std::string::npos) {
      if (operands[i] != kReplicate) return absl::InvalidArgumentError("an operand without it must be R");
    } else if (operands[i] != Shard(static_cast<int>(dim))) {
      return absl::InvalidArgumentError("every operand that has it must be sharded on it");
    }
  }
  if (std::isupper(letter)) return absl::InvalidArgumentError("this dim must not be sharded");
  const size_t dim = signature.result.find(letter);
  if (dim != std::string::npos) return Shard(static_cast<int>(dim));
  if (linearity == Linearity::kNonlinear) {
    return absl::InvalidArgumentError("the op is not linear in a sharded dim that it contracts");
  }
  return kPartial;
}

absl::StatusOr<Placement> PropagateOne(const Signature& signature, Linearity linearity,
                                       std::vector<Placement> operands) {
  // Operands without a gradient take the type that the others ask for.
  bool any_invariant = false;
  bool any_other = false;
  for (int i = 0; i < operands.size(); ++i) {
    if (!signature.has_gradient[i]) continue;
    (operands[i] == kInvariant ? any_invariant : any_other) = true;
  }
  if (any_invariant && any_other) return absl::InvalidArgumentError("I beside another placement");
  for (int i = 0; i < operands.size(); ++i) {
    if (signature.has_gradient[i]) continue;
    const bool same_everywhere = operands[i] == kInvariant || operands[i] == kReplicate;
    if (same_everywhere) operands[i] = any_invariant ? kInvariant : kReplicate;
    if (any_invariant && !same_everywhere) return absl::InvalidArgumentError("I beside another placement");
  }
  if (any_invariant) return kInvariant;

  int num_partial = 0;
  for (int i = 0; i < operands.size(); ++i) {
    const Placement& p = operands[i];
    if (p.is_shard()) {
      const std::string& dims = signature.operands[i];
      if (p.dim >= dims.size()) return absl::InvalidArgumentError("an operand has no such dim");
      return PropagateShard(signature, linearity, operands, dims[p.dim]);
    }
    if (p.kind == Kind::kVarying) return absl::InvalidArgumentError("V");
    num_partial += p == kPartial;
  }
  if (num_partial == 0) return kReplicate;
  if (linearity == Linearity::kProduct && num_partial == 1) return kPartial;
  if (linearity == Linearity::kSum && num_partial == static_cast<int>(operands.size())) return kPartial;
  return absl::InvalidArgumentError("P where the op is not linear in it");
}

}  // namespace

absl::StatusOr<Layout> Propagate(const char* text, Linearity linearity, absl::Span<const Layout> operands) {
  const Signature signature = Parse(text);
  if (signature.operands.size() != operands.size()) {
    return absl::InternalError(absl::StrCat("signature ", text, " for ", operands.size(), " operands"));
  }
  Layout result;
  for (Axis axis : {Axis::kDp, Axis::kCp, Axis::kTp, Axis::kEp}) {
    std::vector<Placement> placements;
    for (const Layout& layout : operands) placements.push_back(layout[axis]);
    absl::StatusOr<Placement> placement = PropagateOne(signature, linearity, placements);
    if (!placement.ok()) {
      std::string found;
      for (const Layout& layout : operands) absl::StrAppend(&found, " ", layout.ToString());
      return absl::InvalidArgumentError(absl::StrCat("layouts do not fit on axis ", Name(axis), " for ", text,
                                                     ": ", placement.status().message(), "; found", found));
    }
    result[axis] = *placement;
  }
  return result;
}

}  // namespace trireme
