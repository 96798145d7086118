#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

struct PlainShape {
  PlainShape(const Op& op, const View& qkv)
      : tokens(qkv.shape.rows()),
        cols(qkv.shape.cols()),
        query_heads(op.attributes.Int("query_heads")),
        key_heads(op.attributes.Int("key_heads")),
        size(op.attributes.Int("head_size")),
        scale(1 / std::sqrt(static_cast<double>(size))) {}

  int64_t group() const { return query_heads / key_heads; }
  // Where a token's head begins in qkv.
  int64_t Query(int64_t t, int64_t head) const { return t * cols + head * size; }
  int64_t Key(int64_t t, int64_t head) const { return t * cols + (query_heads + head) * size; }
  int64_t ValueOf(int64_t t, int64_t head) const {
    return t * cols + (query_heads + key_heads + head) * size;
  }

  int64_t tokens, cols, query_heads, key_heads, size;
  double scale;
};

template <typename T>
void AttentionOf(const KernelArguments& a) {
  const PlainShape s(a.op, a.inputs[0]);
  const T* qkv = a.inputs[0].as<T>();
  const int32_t* lo = a.inputs[1].as<int32_t>();
  T* out = a.outputs[0].as<T>();
  Wide<T>* lse = a.outputs[1].as<Wide<T>>();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t q = 0; q < s.tokens; ++q) {
    double* weights = static_cast<double*>(a.workspace) + omp_get_thread_num() * (s.tokens + s.size);
    double* values = weights + s.tokens;
    for (int64_t h = 0; h < s.query_heads; ++h) {
      const int64_t kh = h / s.group();
      double maximum = -std::numeric_limits<double>::infinity();
      for (int64_t k = lo[q]; k <= q; ++k) {
        weights[k] = s.scale * Dot(qkv + s.Query(q, h), qkv + s.Key(k, kh), s.size);
        maximum = std::max(maximum, weights[k]);
      }
      double sum = 0;
      for (int64_t k = lo[q]; k <= q; ++k) {
        weights[k] = std::exp(weights[k] - maximum);
        sum += weights[k];
      }
      Put(lse, q * s.query_heads + h, maximum + std::log(sum));
      std::fill_n(values, s.size, 0.0);
      for (int64_t k = lo[q]; k <= q; ++k) {
        for (int64_t i = 0; i < s.size; ++i) values[i] += weights[k] * Get(qkv, s.ValueOf(k, kh) + i);
      }
      for (int64_t i = 0; i < s.size; ++i) Put(out, (q * s.query_heads + h) * s.size + i, values[i] / sum);
    }
  }
}

// The sums of one key head: dk and dv of all tokens, and dq of one query.
struct GradSums {
  double* dk;
  double* dv;
  double* dq;
};

// Adds query q of head h to the sums, and writes its dq.
template <typename T>
void AttentionGradOfQuery(const KernelArguments& a, const PlainShape& s, const GradSums& sums, int64_t q,
                          int64_t h) {
  const T* qkv = a.inputs[1].as<T>();
  const int64_t at = (q * s.query_heads + h) * s.size;
  const T* dout = a.inputs[0].as<T>() + at;
  const double lse = Get(a.inputs[3].as<Wide<T>>(), q * s.query_heads + h);
  const int64_t kh = h / s.group();
  const double delta = Dot(dout, a.inputs[2].as<T>() + at, s.size);
  std::fill_n(sums.dq, s.size, 0.0);
  for (int64_t k = a.inputs[4].as<int32_t>()[q]; k <= q; ++k) {
    const T* query = qkv + s.Query(q, h);
    const T* key = qkv + s.Key(k, kh);
    const double weight = std::exp(s.scale * Dot(query, key, s.size) - lse);
    const double dscore = s.scale * weight * (Dot(dout, qkv + s.ValueOf(k, kh), s.size) - delta);
    for (int64_t i = 0; i < s.size; ++i) {
      sums.dq[i] += dscore * Get(key, i);
      sums.dk[k * s.size + i] += dscore * Get(query, i);
      sums.dv[k * s.size + i] += weight * Get(dout, i);
    }
  }
  for (int64_t i = 0; i < s.size; ++i) Put(a.outputs[0].as<T>(), s.Query(q, h) + i, sums.dq[i]);
}

template <typename T>
void AttentionGradOf(const KernelArguments& a) {
  const PlainShape s(a.op, a.inputs[1]);
  T* dqkv = a.outputs[0].as<T>();
  // A key head's gradients are one thread's: their sums are in the order of the queries whatever the threads.
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t kh = 0; kh < s.key_heads; ++kh) {
    const int64_t elements = s.tokens * s.size;
    double* scratch = static_cast<double*>(a.workspace) + kh * (2 * elements + s.size);
    const GradSums sums = {scratch, scratch + elements, scratch + 2 * elements};
    std::fill_n(scratch, 2 * elements, 0.0);
    for (int64_t h = kh * s.group(); h < (kh + 1) * s.group(); ++h) {
      for (int64_t q = 0; q < s.tokens; ++q) AttentionGradOfQuery<T>(a, s, sums, q, h);
    }
    for (int64_t k = 0; k < s.tokens; ++k) {
      for (int64_t i = 0; i < s.size; ++i) {
        Put(dqkv, s.Key(k, kh) + i, sums.dk[k * s.size + i]);
        Put(dqkv, s.ValueOf(k, kh) + i, sums.dv[k * s.size + i]);
      }
    }
  }
}

}  // namespace

int64_t AttentionPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                     absl::Span<const View> outputs, int num_threads) {
  (void)outputs;
  const PlainShape s(op, inputs[0]);
  return num_threads * (s.tokens + s.size) * static_cast<int64_t>(sizeof(double));
}

int64_t AttentionGradPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                         absl::Span<const View> outputs, int num_threads) {
  (void)outputs;
  (void)num_threads;
  const PlainShape s(op, inputs[1]);
  return s.key_heads * (2 * s.tokens + 1) * s.size * static_cast<int64_t>(sizeof(double));
}

void AttentionPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { AttentionOf<decltype(type)>(a); });
}

void AttentionGradPlain(const KernelArguments& a) {
  ForFloat(a.outputs[0].dtype, [&](auto type) { AttentionGradOf<decltype(type)>(a); });
}

}  // namespace trireme
