// bf16 products for CPUs whose oneDNN has none: blocks of both operands are widened and multiplied in f32.
#include <glog/logging.h>

#include <algorithm>

#include "runtime/cpu/gemm.h"

namespace trireme {
namespace {

constexpr int64_t kBlock = 1024;

struct Blocks {
  int64_t m, n, k;
};

Blocks BlocksOf(const GemmSpec& s) {
  return {std::min(s.m, kBlock), std::min(s.n, kBlock), std::min(s.k, kBlock)};
}

int64_t FloatBytes(int64_t rows, int64_t cols) {
  return (rows * cols * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64;
}

// The product of one block: f32, into a dense block of C.
GemmSpec BlockSpec(const GemmSpec& s, int64_t m, int64_t n, int64_t k, bool accumulate) {
  return {.m = m,
          .n = n,
          .k = k,
          .transpose_a = s.transpose_a,
          .transpose_b = s.transpose_b,
          .accumulate = accumulate,
          .num_threads = s.num_threads};
}

// Rows [row, row + rows) and the same of columns of a stored matrix, widened into a dense one.
void Widen(const Bf16* from, int64_t stride, int64_t row, int64_t rows, int64_t col, int64_t cols, float* to,
           int num_threads) {
#pragma omp parallel for num_threads(num_threads)
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      to[i * cols + j] = static_cast<float>(from[(row + i) * stride + col + j]);
    }
  }
}

struct Operand {
  const Bf16* data;
  bool transposed;
  int64_t stride;

  // Block (i, j) of the operand as the product sees it, in its stored orientation.
  void Load(int64_t i, int64_t rows, int64_t j, int64_t cols, float* to, int num_threads) const {
    if (transposed) {
      Widen(data, stride, j, cols, i, rows, to, num_threads);
    } else {
      Widen(data, stride, i, rows, j, cols, to, num_threads);
    }
  }
};

// Adds the bias to a finished block and writes it into, or adds it to, its place in C.
void StoreBlock(const GemmSpec& s, const float* block, int64_t rows, int64_t cols, const float* bias,
                int64_t i0, int64_t j0, void* c) {
  const int64_t stride = s.row_stride_c == 0 ? s.n : s.row_stride_c;
#pragma omp parallel for num_threads(s.num_threads)
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t at = (i0 + i) * stride + j0;
    for (int64_t j = 0; j < cols; ++j) {
      const float value = block[i * cols + j] + (s.bias ? bias[j0 + j] : 0.0f);
      if (s.output == DType::kBF16) {
        static_cast<Bf16*>(c)[at + j] = Bf16(value);
      } else if (s.accumulate) {
        static_cast<float*>(c)[at + j] += value;
      } else {
        static_cast<float*>(c)[at + j] = value;
      }
    }
  }
}

}  // namespace

int64_t GemmByConversionWorkspaceBytes(const GemmSpec& spec) {
  const Blocks b = BlocksOf(spec);
  int64_t products = 0;
  // The last block of each dimension may be smaller, and its product may ask for more.
  for (int64_t m : {b.m, spec.m % kBlock}) {
    for (int64_t n : {b.n, spec.n % kBlock}) {
      for (int64_t k : {b.k, spec.k % kBlock}) {
        for (bool accumulate : {false, true}) {
          products = std::max(products, GemmWorkspaceBytes(BlockSpec(spec, m, n, k, accumulate)));
        }
      }
    }
  }
  return FloatBytes(b.m, b.k) + FloatBytes(b.k, b.n) + FloatBytes(b.m, b.n) + products;
}

void GemmByConversion(const GemmSpec& spec, const void* a, const void* b, const void* bias, void* c,
                      void* workspace) {
  CHECK(spec.input == DType::kBF16);
  const Blocks blocks = BlocksOf(spec);
  auto* bytes = static_cast<char*>(workspace);
  auto* a_block = reinterpret_cast<float*>(bytes);
  auto* b_block = reinterpret_cast<float*>(bytes += FloatBytes(blocks.m, blocks.k));
  auto* c_block = reinterpret_cast<float*>(bytes += FloatBytes(blocks.k, blocks.n));
  void* rest = bytes + FloatBytes(blocks.m, blocks.n);
  const auto stride_of = [](int64_t given, int64_t dense) { return given == 0 ? dense : given; };
  const Operand left = {static_cast<const Bf16*>(a), spec.transpose_a,
                        stride_of(spec.row_stride_a, spec.transpose_a ? spec.m : spec.k)};
  const Operand right = {static_cast<const Bf16*>(b), spec.transpose_b,
                         stride_of(spec.row_stride_b, spec.transpose_b ? spec.k : spec.n)};
  for (int64_t i = 0; i < spec.m; i += kBlock) {
    const int64_t m = std::min(kBlock, spec.m - i);
    for (int64_t j = 0; j < spec.n; j += kBlock) {
      const int64_t n = std::min(kBlock, spec.n - j);
      for (int64_t l = 0; l < spec.k; l += kBlock) {
        const int64_t k = std::min(kBlock, spec.k - l);
        left.Load(i, m, l, k, a_block, spec.num_threads);
        right.Load(l, k, j, n, b_block, spec.num_threads);
        Gemm(BlockSpec(spec, m, n, k, l > 0), a_block, b_block, nullptr, c_block, rest);
      }
      StoreBlock(spec, c_block, m, n, static_cast<const float*>(bias), i, j, c);
    }
  }
}

}  // namespace trireme
