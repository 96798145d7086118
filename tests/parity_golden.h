// What tests/reference/pytorch_reference.py wrote about one model: its settings, and what PyTorch makes of
// it.
#ifndef TRIREME_TESTS_PARITY_GOLDEN_H_
#define TRIREME_TESTS_PARITY_GOLDEN_H_

#include <map>
#include <string>
#include <vector>

#include "tests/mesh_run.h"

namespace trireme {

struct ParityGolden {
  std::string recipe;  // under configs/
  std::vector<std::string> overrides;
  // By dtype ("fp64", "fp32", "bf16"): mean loss of each step, and the gradient's norm before clipping.
  std::map<std::string, std::vector<double>> losses;
  std::map<std::string, std::vector<double>> norms;
  std::map<std::string, double> initial_norms;  // of each initial tensor
  // By step (from 1): the gradients of that step's mean loss in double, by Hugging Face's names and layouts.
  std::map<int, GlobalTensors> gradients;
};

// Reads tests/goldens/parity_<name>.txt. Aborts on one that the script cannot have written.
ParityGolden ReadParityGolden(const std::string& name);

}  // namespace trireme

#endif  // TRIREME_TESTS_PARITY_GOLDEN_H_
