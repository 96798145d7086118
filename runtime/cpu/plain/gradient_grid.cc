#include "runtime/ops/gradient_grid.h"

#include <cmath>
#include <limits>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

constexpr int kLimbBits = 32;
constexpr int64_t kLimbMask = (int64_t{1} << kLimbBits) - 1;

// Adds number * 2^(32 at) to limbs that are carried.
void AddAt(int64_t* limbs, int at, uint64_t number) {
  for (; at < kGridLimbs && number > 0; ++at) {
    const uint64_t sum = static_cast<uint64_t>(limbs[at]) + (number & kLimbMask);
    limbs[at] = static_cast<int64_t>(sum & kLimbMask);
    number = (number >> kLimbBits) + (sum >> kLimbBits);
  }
}

}  // namespace

void AddToGridPlain(const KernelArguments& a) {
  const auto exponent = static_cast<int>(a.op.attributes.Int("exponent"));
  const auto limit = static_cast<double>(a.op.attributes.Int("limit"));
  ForFloat(a.inputs[0].dtype, [&](auto type) {
    const auto* x = a.inputs[0].as<decltype(type)>();
    auto* sum = a.outputs[0].as<int64_t>();
    for (int64_t i = 0; i < a.inputs[0].shape.num_elements(); ++i) {
      const double quanta = std::nearbyint(std::ldexp(Get(x, i), -exponent));
      const bool fits = std::abs(quanta) < limit;  // not so for a NaN
      if (!fits) *a.outputs[1].as<int64_t>() = 1;
      sum[i] = (a.accumulate ? sum[i] : 0) + (fits ? static_cast<int64_t>(quanta) : 0);
    }
  });
}

void GridSquaredNormPlain(const KernelArguments& a) {
  const int64_t* gradient = a.inputs[0].as<int64_t>();
  int64_t* limbs = a.outputs[0].as<int64_t>();
  for (int64_t i = 0; i < kGridLimbs; ++i) limbs[i] = 0;
  for (int64_t i = 0; i < a.inputs[0].shape.num_elements(); ++i) {
    const auto bits = static_cast<uint64_t>(gradient[i]);
    const uint64_t size = gradient[i] < 0 ? 0 - bits : bits;
    const uint64_t high = size >> kLimbBits, low = size & kLimbMask;
    AddAt(limbs, 0, low * low);
    for (int twice = 0; twice < 2; ++twice) AddAt(limbs, 1, low * high);
    AddAt(limbs, 2, high * high);
  }
}

void GridSumPlain(const KernelArguments& a) {
  const int64_t* norms = a.inputs[0].as<int64_t>();
  int64_t* sums = a.outputs[0].as<int64_t>();
  for (int64_t j = 0; j < kGridLimbs; ++j) {
    sums[j] = 0;
    for (int64_t b = 0; b < a.inputs[0].shape.rows(); ++b) sums[j] += norms[b * kGridLimbs + j];
  }
  sums[kGridLimbs] = *a.inputs[1].as<int64_t>();
  *a.outputs[1].as<int64_t>() = 0;
}

void GridNormPlain(const KernelArguments& a) {
  const int64_t* sums = a.inputs[0].as<int64_t>();
  double* norm = a.outputs[0].as<double>();
  // Carried first: from here on the same number has the same bits.
  int64_t limbs[kGridLimbs], carry = 0;
  for (int64_t j = 0; j < kGridLimbs; ++j) {
    limbs[j] = (sums[j] + carry) & kLimbMask;
    carry = (sums[j] + carry) >> kLimbBits;
  }
  double number = static_cast<double>(carry);
  for (int64_t j = kGridLimbs - 1; j >= 0; --j) {
    number = std::ldexp(number, kLimbBits) + static_cast<double>(limbs[j]);
  }
  *norm = sums[kGridLimbs] != 0 ? std::numeric_limits<double>::infinity()
                                : std::ldexp(number, static_cast<int>(2 * a.op.attributes.Int("exponent")));
}

void FromGridPlain(const KernelArguments& a) {
  const auto exponent = static_cast<int>(a.op.attributes.Int("exponent"));
  const int64_t* gradient = a.inputs[0].as<int64_t>();
  ForFloat(a.outputs[0].dtype, [&](auto type) {
    auto* wide = a.outputs[0].as<decltype(type)>();
    for (int64_t i = 0; i < a.inputs[0].shape.num_elements(); ++i) {
      Put(wide, i, std::ldexp(static_cast<double>(gradient[i]), exponent));
    }
  });
}

}  // namespace trireme
