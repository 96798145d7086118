#include <cmath>

#include "runtime/cpu/fast.h"
#include "runtime/cpu/ranges.h"
#include "runtime/cpu/simd_targets.h"
#include "runtime/random.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/dropout.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, in this order.
#include "hwy/highway.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

// The most words of Philox that are drawn at a time, each of which decides one element.
constexpr int64_t kMaxWords = 4 * HWY_MAX_BYTES / sizeof(uint64_t);

#if HWY_TARGET == HWY_SCALAR

using RoundKeys = RandomStream;

HWY_INLINE int64_t WordsAtATime() {
  return 4;
}

HWY_INLINE void DrawWords(const RandomStream& stream, uint64_t index, uint64_t sub_index, uint32_t* words) {
  const Philox4 drawn = stream.Words(index, sub_index);
  std::copy(drawn.begin(), drawn.end(), words);
}

#else

using U64 = hn::ScalableTag<uint64_t>;

HWY_INLINE int64_t WordsAtATime() {
  return 4 * static_cast<int64_t>(hn::Lanes(U64()));
}

// What each round of Philox() adds to its words.
struct RoundKeys {
  explicit RoundKeys(const RandomStream& stream) {
    const std::array<uint32_t, 2> key = stream.key();
    for (int i = 0; i < kRounds; ++i) {
      of[2 * i] = key[0] + static_cast<uint32_t>(i) * 0x9E3779B9u;
      of[2 * i + 1] = key[1] + static_cast<uint32_t>(i) * 0xBB67AE85u;
    }
  }
  static constexpr int kRounds = 10;
  uint64_t of[2 * kRounds];
};

// Draws words[4 i + j] = word j of (index, sub_index + i): Philox() of random.h with a counter in each 64-bit
// lane, of which the lower half counts.
HWY_INLINE void DrawWords(const RoundKeys& keys, uint64_t index, uint64_t sub_index, uint32_t* words) {
  const U64 u64;
  const hn::Repartition<uint32_t, U64> u32;
  const auto multiply = [&](hn::Vec<U64> x, uint32_t by)
                            HWY_ATTR { return hn::MulEven(hn::BitCast(u32, x), hn::Set(u32, by)); };
  auto c0 = hn::Set(u64, index);
  auto c1 = hn::Set(u64, index >> 32);
  auto c2 = hn::Iota(u64, sub_index);
  auto c3 = hn::Zero(u64);  // the upper half of a sub_index, which counts the columns of a row
  for (int i = 0; i < RoundKeys::kRounds; ++i) {
    const auto p0 = multiply(c0, 0xD2511F53u);
    const auto p1 = multiply(c2, 0xCD9E8D57u);
    c0 = hn::Xor3(hn::ShiftRight<32>(p1), c1, hn::Set(u64, keys.of[2 * i]));
    c2 = hn::Xor3(hn::ShiftRight<32>(p0), c3, hn::Set(u64, keys.of[2 * i + 1]));
    c1 = p1;
    c3 = p0;
  }
  const auto low = hn::Set(u64, 0xffffffffu);
  const auto first = hn::Or(hn::And(c0, low), hn::ShiftLeft<32>(c1));
  const auto second = hn::Or(hn::And(c2, low), hn::ShiftLeft<32>(c3));
  hn::StoreInterleaved2(first, second, u64, reinterpret_cast<uint64_t*>(words));
}

#endif

void DropoutRows(const KernelArguments& a, int64_t begin, int64_t end) {
  ForFastFloat(a.outputs[0].dtype, [&](auto type) HWY_ATTR {
    using T = decltype(type);
    const int64_t cols = a.outputs[0].shape.cols();
    const double rate = a.op.attributes.Float("rate");
    const RoundKeys keys(RandomStream(static_cast<uint64_t>(a.op.attributes.Int("seed")),
                                      static_cast<uint64_t>(a.op.attributes.Int("name"))));
    const auto threshold = hn::Set(U32(), static_cast<uint32_t>(std::ceil(rate * 0x1p32)));
    const VF32 scale = hn::Set(F32(), static_cast<float>(1 / (1 - rate)));
    const int64_t step = WordsAtATime();
    HWY_ALIGN uint32_t words[kMaxWords];
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t d = 0; d < cols; d += step) {
        DrawWords(keys, a.inputs[1].as<int64_t>()[t], d / 4, words);
        const uint32_t* next = words;
        const auto drop = [&next, threshold, scale](VF32 x) HWY_ATTR {
          const auto dropped = hn::Lt(hn::LoadU(U32(), next), threshold);
          next += NumLanes();
          return hn::IfThenZeroElse(hn::RebindMask(F32(), dropped), hn::Mul(x, scale));
        };
        const int64_t at = t * cols + d;
        Map(std::min(step, cols - d), drop, a.outputs[0].as<T>() + at, a.inputs[0].as<T>() + at);
      }
    }
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trireme {

HWY_EXPORT(DropoutRows);

void DropoutFast(const KernelArguments& a) {
  const Shape& shape = a.outputs[0].shape;
  ForRanges(a, shape.rows(), RowsPerRange(shape.cols()), HWY_DYNAMIC_DISPATCH(DropoutRows));
}

}  // namespace trireme
#endif  // HWY_ONCE
