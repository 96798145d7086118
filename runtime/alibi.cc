#include "runtime/alibi.h"

#include <cmath>

namespace trireme {

std::vector<float> AlibiSlopes(int64_t heads) {
  int64_t power = 1;
  while (2 * power <= heads) power *= 2;
  std::vector<float> slopes;
  auto add = [&slopes](int64_t i, int64_t n) {
    slopes.push_back(static_cast<float>(std::exp2(-8.0 * static_cast<double>(i) / static_cast<double>(n))));
  };
  for (int64_t i = 1; i <= power; ++i) add(i, power);
  for (int64_t i = 1; static_cast<int64_t>(slopes.size()) < heads; i += 2) add(i, 2 * power);
  return slopes;
}

}  // namespace trireme
