#include "checkpoint/strided.h"

#include <glog/logging.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

constexpr int kDims = Shape::kMaxDims;

// The region with leading dims of extent 1 put before its own, so that every region has kMaxDims.
struct Loop {
  std::array<int64_t, kDims> extent;
  std::array<int64_t, kDims> from_stride;  // elements
  std::array<int64_t, kDims> to_stride;
  const uint8_t* from;  // first element of the region
  uint8_t* to;
};

int64_t OffsetOf(const Box& region, const Strided& view) {
  int64_t offset = 0;
  for (int d = 0; d < region.num_dims; ++d) offset += (region.begin[d] - view.box.begin[d]) * view.strides[d];
  return offset;
}

Loop MakeLoop(const Box& region, const Strided& from, const Strided& to) {
  Loop loop;
  loop.extent.fill(1);
  loop.from_stride.fill(0);
  loop.to_stride.fill(0);
  const int shift = kDims - region.num_dims;
  for (int d = 0; d < region.num_dims; ++d) {
    loop.extent[shift + d] = region.extent(d);
    loop.from_stride[shift + d] = from.strides[d];
    loop.to_stride[shift + d] = to.strides[d];
  }
  loop.from = from.data + OffsetOf(region, from) * SizeOf(from.dtype);
  loop.to = to.data + OffsetOf(region, to) * SizeOf(to.dtype);
  return loop;
}

template <typename T>
T LoadElement(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// Calls plane(from, to) for each index of the two outer dims; stops where it returns false.
template <typename Plane>
bool ForEachPlane(const Loop& loop, int64_t from_size, int64_t to_size, Plane plane) {
  for (int64_t i = 0; i < loop.extent[0]; ++i) {
    for (int64_t j = 0; j < loop.extent[1]; ++j) {
      if (!plane(loop.from + (i * loop.from_stride[0] + j * loop.from_stride[1]) * from_size,
                 loop.to + (i * loop.to_stride[0] + j * loop.to_stride[1]) * to_size)) {
        return false;
      }
    }
  }
  return true;
}

// Element by element, in tiles, so that neither side of a transposing copy leaves the cache.
// convert(From, To*) returns false to stop.
template <typename From, typename To, typename Convert>
bool CopyElements(const Loop& loop, Convert convert) {
  constexpr int64_t kTile = 32;
  const int64_t rows = loop.extent[2];
  const int64_t cols = loop.extent[3];
  return ForEachPlane(loop, sizeof(From), sizeof(To), [&](const uint8_t* from, uint8_t* to) {
    for (int64_t row0 = 0; row0 < rows; row0 += kTile) {
      for (int64_t col0 = 0; col0 < cols; col0 += kTile) {
        for (int64_t r = row0; r < std::min(rows, row0 + kTile); ++r) {
          for (int64_t c = col0; c < std::min(cols, col0 + kTile); ++c) {
            const int64_t f = r * loop.from_stride[2] + c * loop.from_stride[3];
            const int64_t t = r * loop.to_stride[2] + c * loop.to_stride[3];
            To value;
            if (!convert(LoadElement<From>(from + f * sizeof(From)), &value)) return false;
            std::memcpy(to + t * sizeof(To), &value, sizeof(To));
          }
        }
      }
    }
    return true;
  });
}

template <typename Bits>
void CopyBits(const Loop& loop) {
  if ((loop.extent[3] != 1 && (loop.from_stride[3] != 1 || loop.to_stride[3] != 1))) {
    CopyElements<Bits, Bits>(loop, [](Bits in, Bits* out) {
      *out = in;
      return true;
    });
    return;
  }
  ForEachPlane(loop, sizeof(Bits), sizeof(Bits), [&](const uint8_t* from, uint8_t* to) {
    for (int64_t r = 0; r < loop.extent[2]; ++r) {
      std::memcpy(to + r * loop.to_stride[2] * sizeof(Bits), from + r * loop.from_stride[2] * sizeof(Bits),
                  loop.extent[3] * sizeof(Bits));
    }
    return true;
  });
}

void CopySameType(const Loop& loop, int64_t size) {
  switch (size) {
    case 1:
      return CopyBits<uint8_t>(loop);
    case 2:
      return CopyBits<uint16_t>(loop);
    case 4:
      return CopyBits<uint32_t>(loop);
    default:
      return CopyBits<uint64_t>(loop);
  }
}

absl::Status NarrowToFloat(const Loop& loop, const Box& region) {
  double lost = 0;
  const bool exact = CopyElements<double, float>(loop, [&lost](double in, float* out) {
    *out = static_cast<float>(in);
    if (static_cast<double>(*out) == in || in != in) return true;
    lost = in;
    return false;
  });
  if (exact) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("box ", region.ToString(), " holds the f64 value ", lost,
                                                 ", which no f32 equals: load it as f64"));
}

// splitmix64's finaliser: every bit of the result depends on every bit of the argument.
constexpr uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

template <typename Bits>
uint64_t DigestRow(const uint8_t* data, int64_t count, int64_t stride, uint64_t index) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t bits = LoadElement<Bits>(data + i * stride * sizeof(Bits));
    sum += Mix((index + i) * 0x9e3779b97f4a7c15u + bits * 0xd1b54a32d192ed03u + 1);
  }
  return sum;
}

uint64_t DigestRowOfSize(int64_t size, const uint8_t* data, int64_t count, int64_t stride, uint64_t index) {
  switch (size) {
    case 1:
      return DigestRow<uint8_t>(data, count, stride, index);
    case 2:
      return DigestRow<uint16_t>(data, count, stride, index);
    case 4:
      return DigestRow<uint32_t>(data, count, stride, index);
    default:
      return DigestRow<uint64_t>(data, count, stride, index);
  }
}

}  // namespace

Strided RowMajor(void* data, DType dtype, const Box& box) {
  return {static_cast<uint8_t*>(data), dtype, box, RowMajorStrides(box)};
}

Strided ViewOf(const TensorSlice& slice) {
  Strided view = RowMajor(slice.data, slice.dtype, slice.box);
  if (slice.transposed) {
    CHECK_EQ(slice.box.num_dims, 2) << slice.name;
    view.strides[0] = 1;
    view.strides[1] = slice.box.extent(0);
  }
  return view;
}

absl::Status CopyRegion(const Box& region, const Strided& from, const Strided& to) {
  if (region.empty()) return absl::OkStatus();
  CHECK(Contains(from.box, region) && Contains(to.box, region)) << region.ToString();
  const Loop loop = MakeLoop(region, from, to);
  if (from.dtype == to.dtype) {
    CopySameType(loop, SizeOf(from.dtype));
  } else if (from.dtype == DType::kBF16 && to.dtype == DType::kF32) {
    CopyElements<Bf16, float>(loop, [](Bf16 in, float* out) { return *out = static_cast<float>(in), true; });
  } else if (from.dtype == DType::kBF16 && to.dtype == DType::kF64) {
    CopyElements<Bf16, double>(loop,
                               [](Bf16 in, double* out) { return *out = static_cast<float>(in), true; });
  } else if (from.dtype == DType::kF32 && to.dtype == DType::kF64) {
    CopyElements<float, double>(loop, [](float in, double* out) { return *out = in, true; });
  } else if (from.dtype == DType::kF64 && to.dtype == DType::kF32) {
    return NarrowToFloat(loop, region);
  } else {
    return absl::InvalidArgumentError(absl::StrCat("stored as ", Name(from.dtype), ", wanted as ",
                                                   Name(to.dtype),
                                                   ": that conversion would lose bits; load it as f32"));
  }
  return absl::OkStatus();
}

uint64_t DigestOf(const Strided& view, const Shape& global_shape) {
  const Box whole = WholeBox(global_shape);
  if (view.box.num_dims == 0) return DigestRowOfSize(SizeOf(view.dtype), view.data, 1, 1, 0);
  const int inner = view.box.num_dims - 1;
  const int64_t cols = view.box.extent(inner);
  const int64_t rows = cols == 0 ? 0 : view.box.volume() / cols;
  uint64_t sum = 0;
  for (int64_t row = 0; row < rows; ++row) {
    Box line = view.box;
    int64_t rest = row;
    for (int d = inner - 1; d >= 0; --d) {
      line.begin[d] = view.box.begin[d] + rest % view.box.extent(d);
      rest /= view.box.extent(d);
    }
    sum += DigestRowOfSize(SizeOf(view.dtype), view.data + OffsetOf(line, view) * SizeOf(view.dtype), cols,
                           view.strides[inner], static_cast<uint64_t>(FlatOffset(whole, line)));
  }
  return sum;
}

}  // namespace trireme
