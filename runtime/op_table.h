// Every op kind in one table: its name, its gradient, and what passes need to know.
#ifndef TRIREME_RUNTIME_OP_TABLE_H_
#define TRIREME_RUNTIME_OP_TABLE_H_

#include "runtime/autograd.h"
#include "runtime/op_kind.h"

namespace trireme {

struct OpDefinition {
  const char* name;
  GradientFunction gradient = nullptr;  // nullptr: not differentiable
  // Costs little beside its memory traffic: selective recompute does it again instead of keeping its results.
  bool cheap = false;
  // Moves data between ranks (on axes larger than 1).
  bool communicates = false;
  // An effect, such as a choice of experts: its results are always saved, never computed again.
  bool kept = false;
  // Stands for the ops that a pass expands it to: no backend has a kernel for it.
  bool composite = false;
  // Its results must be gathered again in backward, never saved.
  bool regather = false;
  // The input whose storage output 0 may take over, if nobody reads it later; -1: none.
  int overwrites = -1;
  // Bit i: output i is a parameter gradient that the kernel can add into.
  unsigned accumulates = 0;
};

const OpDefinition& Definition(OpKind kind);
inline const char* Name(OpKind kind) {
  return Definition(kind).name;
}

}  // namespace trireme

#endif  // TRIREME_RUNTIME_OP_TABLE_H_
