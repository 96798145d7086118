// A library of matrix products that proposes several algorithms for each and can be told which to use.
#ifndef TRIREME_RUNTIME_GEMM_LIBRARY_H_
#define TRIREME_RUNTIME_GEMM_LIBRARY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/gemm_spec.h"

namespace trireme {

// What an algorithm is chosen for.
struct GemmProblem {
  GemmSpec spec;
  uint32_t alignment = 0;  // GemmAlignment of its operands

  // "bf16 -> f32, A [64, 32]^T, B [64, 48], added, aligned to 64": one text a problem, whatever the threads.
  // An epilogue is named: "GELU", "GELU kept", "GELU's gradient", "bias gradient".
  std::string ToString() const;

  friend bool operator==(const GemmProblem&, const GemmProblem&) = default;
};

// A problem where a plan has it: operands that may be written to, none of which is needed yet.
struct GemmUse {
  GemmProblem problem;
  void* a = nullptr;
  void* b = nullptr;
  void* c = nullptr;
  void* bias = nullptr;  // f32
  void* aux = nullptr;   // GemmEpilogue
  void* workspace = nullptr;
};

struct GemmCandidate {
  // The library's own bytes, which any process with the same version() understands. Empty, where the problem
  // has an epilogue: the product alone, and the backend's own kernels behind it.
  std::string algorithm;
  double seconds = 0;
};

// The largest power of two that all addresses are multiples of, up to what every plan's memory is aligned to:
// where a mesh happens to place an operand better, the problem stays the same, and so does its algorithm.
uint32_t GemmAlignment(const void* a, const void* b, const void* c, const void* aux = nullptr);

// The product that a dense op's kernel makes, and behind it the product with its epilogue, where it has one;
// none for other ops, and where the product is empty.
std::vector<GemmUse> GemmsOf(const KernelArguments& arguments);

class GemmLibrary {
 public:
  virtual ~GemmLibrary() = default;

  // What a choice holds for: the card and the library's version.
  virtual std::string version() const = 0;
  // The algorithms that the library proposes, its own favourite first, and how long each takes on random
  // numbers. Afterwards the operands are zero.
  virtual std::vector<GemmCandidate> Time(const GemmUse& use) = 0;
  // From now on this thread's products of the problem are done so. Before the first of them.
  virtual void Use(const GemmProblem& problem, const std::string& algorithm) = 0;
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_GEMM_LIBRARY_H_
