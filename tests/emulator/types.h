// The types that CUDA C++ has and g++ lacks, as far as kernels may use them. See runtime/cuda/gpu.h.
#ifndef TRIREME_TESTS_EMULATOR_TYPES_H_
#define TRIREME_TESTS_EMULATOR_TYPES_H_

#include <cstdint>
#include <cstring>

// NOLINTBEGIN(readability-identifier-naming): CUDA's names
struct uint3 {
  unsigned int x, y, z;
};

struct dim3 {
  unsigned int x = 1, y = 1, z = 1;

  constexpr dim3() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): as in CUDA, a number of blocks is a grid.
  constexpr dim3(unsigned int x_size, unsigned int y_size = 1, unsigned int z_size = 1)
      : x(x_size), y(y_size), z(z_size) {}
};

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned int x, y;
};
struct alignas(16) uint4 {
  unsigned int x, y, z, w;
};

inline float2 make_float2(float x, float y) {
  return {x, y};
}
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline int2 make_int2(int x, int y) {
  return {x, y};
}
inline int4 make_int4(int x, int y, int z, int w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
// NOLINTEND(readability-identifier-naming)

namespace trireme {

// The upper half of a float. Without conversions, on purpose: kernels convert through ToFloat and FromFloat.
struct bf16 {  // NOLINT(readability-identifier-naming): as in runtime/cuda/gpu.h
  uint16_t bits;
};

inline float ToFloat(float x) {
  return x;
}
inline float ToFloat(bf16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Rounds to nearest, ties to even; a NaN becomes 0x7fff, as cvt.rn.bf16.f32 does.
inline bf16 RoundToBf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <typename T>
T FromFloat(float x);
template <>
inline float FromFloat<float>(float x) {
  return x;
}
template <>
inline bf16 FromFloat<bf16>(float x) {
  return RoundToBf16(x);
}
inline uint32_t PackBf16(float low, float high) {
  return RoundToBf16(low).bits | static_cast<uint32_t>(RoundToBf16(high).bits) << 16;
}

}  // namespace trireme

#endif  // TRIREME_TESTS_EMULATOR_TYPES_H_
