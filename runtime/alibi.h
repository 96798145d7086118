// Attention with linear biases: scores fall with the distance of a key, by a slope of each head. Source:
// arXiv:2108.12409.
#ifndef TRIREME_RUNTIME_ALIBI_H_
#define TRIREME_RUNTIME_ALIBI_H_

#include <cstdint>
#include <vector>

namespace trireme {

// The slopes of all heads of a model, as Hugging Face's build_alibi_tensor (BLOOM) has them: 2^(-8 i / n) for
// i = 1, 2, ... n, where n is the largest power of two that is not above `heads`; then those of 2 n heads for
// i = 1, 3, 5, ... until there are enough.
std::vector<float> AlibiSlopes(int64_t heads);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_ALIBI_H_
