// The mask of attention, a vector of queries at a time. Included once for every instruction set, after
// simd-inl.h (Highway's convention for "-inl.h" files).
#if defined(TRIREME_RUNTIME_CPU_ATTENTION_MASK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIREME_RUNTIME_CPU_ATTENTION_MASK_INL_H_
#undef TRIREME_RUNTIME_CPU_ATTENTION_MASK_INL_H_
#else
#define TRIREME_RUNTIME_CPU_ATTENTION_MASK_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <limits>

#include "hwy/highway.h"
#include "runtime/cpu/attention_tiles.h"
#include "runtime/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trireme {
namespace HWY_NAMESPACE {

using I32 = hn::RebindToSigned<F32>;

// The first and the last key that a tile's queries see; the lanes behind the last query see nothing. `tile`:
// room for twice kTileQueries.
HWY_INLINE void FillMask(const AttentionMask& mask, Range queries, int32_t* tile) {
  std::fill_n(tile, kTileQueries, std::numeric_limits<int32_t>::max());
  std::copy(mask.lo + queries.begin, mask.lo + queries.end, tile);
  for (int64_t q = queries.begin; q < queries.begin + kTileQueries; ++q) {
    tile[kTileQueries + q - queries.begin] = static_cast<int32_t>(q < queries.end ? mask.End(q) - 1 : 0);
  }
}

// The queries of a tile from `query` on that share a vector.
struct QueryLanes {
  HWY_INLINE QueryLanes(const TileMask& mask, const int32_t* tile, int64_t query)
      : lo(hn::Load(I32(), tile + query)),
        last(hn::Load(I32(), tile + kTileQueries + query)),
        first_key(static_cast<int32_t>(mask.k0)) {}

  // The queries that do not see this key.
  HWY_INLINE hn::Mask<F32> BlindTo(int64_t tile_key) const {
    const auto key = hn::Set(I32(), first_key + static_cast<int32_t>(tile_key));
    return hn::RebindMask(F32(), hn::Or(hn::Lt(last, key), hn::Lt(key, lo)));
  }

  hn::Vec<I32> lo, last;
  int32_t first_key;
};

}  // namespace HWY_NAMESPACE
}  // namespace trireme
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
