#include <omp.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/cpu/plain/element.h"
#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

// Heads side by side in rows of `cols` elements.
template <typename T>
struct Heads {
  T* data;
  int64_t cols, size;
  // Where row t has its head.
  int64_t At(int64_t t, int64_t head) const { return t * cols + head * size; }
  Heads Behind(int64_t heads) const { return {data + heads * size, cols, size}; }
};

template <typename T>
Heads<T> HeadsOf(const View& view, int64_t size) {
  return {view.as<T>(), view.shape.cols(), size};
}

// Who attends to what: query q to keys [lo[q], End(q)).
struct PlainShape {
  PlainShape(const Op& op, const View& queries, const View& key_rows)
      : tokens(queries.shape.rows()),
        keys(key_rows.shape.rows()),
        query_heads(op.attributes.Int("query_heads")),
        key_heads(op.attributes.Int("key_heads")),
        size(op.attributes.Int("head_size")),
        scale(1 / std::sqrt(static_cast<double>(size))) {}

  int64_t group() const { return query_heads / key_heads; }
  int64_t End(int64_t q) const { return hi != nullptr ? hi[q] : q + 1; }

  int64_t tokens, keys, query_heads, key_heads, size;
  double scale;
  const int32_t* lo = nullptr;
  const int32_t* hi = nullptr;  // absent: q + 1

  // What is added to the scaled score; 0 without slopes. Places that are absent are those in memory.
  double Bias(int64_t h, int64_t q, int64_t k) const {
    if (slopes == nullptr) return 0;
    return slopes[h] * static_cast<double>(query_places != nullptr ? key_places[k] - query_places[q] : k - q);
  }
  const float* slopes = nullptr;
  const int32_t* query_places = nullptr;
  const int32_t* key_places = nullptr;
};

// A call's slopes and, of a block, places: the optional inputs from `first` on.
void TakeAlibi(const KernelArguments& a, size_t first, PlainShape* s) {
  if (a.inputs.size() <= first) return;
  s->slopes = a.inputs[first].as<float>();
  if (a.inputs.size() == first + 1) return;
  s->query_places = a.inputs[first + 1].as<int32_t>();
  s->key_places = a.inputs[first + 2].as<int32_t>();
}

template <typename T>
struct PlainOperands {
  Heads<const T> queries, keys, values;
};

// Of queries, keys and values in one value, or of a value of keys and values.
template <typename T>
PlainOperands<T> Packed(const View& qkv, const PlainShape& s) {
  const Heads<const T> all = HeadsOf<const T>(qkv, s.size);
  return {all, all.Behind(s.query_heads), all.Behind(s.query_heads + s.key_heads)};
}
template <typename T>
PlainOperands<T> Apart(const View& qkv, const View& kv, const PlainShape& s) {
  const Heads<const T> keys = HeadsOf<const T>(kv, s.size);
  return {HeadsOf<const T>(qkv, s.size), keys, keys.Behind(s.key_heads)};
}

// A query that sees nothing: out 0, lse -infinity.
template <typename T, typename Out>
void AttentionOf(const KernelArguments& a, const PlainShape& s, const PlainOperands<T>& x) {
  Out* out = a.outputs[0].as<Out>();
  Wide<T>* lse = a.outputs[1].as<Wide<T>>();
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t q = 0; q < s.tokens; ++q) {
    double* weights = static_cast<double*>(a.workspace) + omp_get_thread_num() * (s.keys + s.size);
    double* values = weights + s.keys;
    for (int64_t h = 0; h < s.query_heads; ++h) {
      const int64_t kh = h / s.group();
      double maximum = -std::numeric_limits<double>::infinity();
      for (int64_t k = s.lo[q]; k < s.End(q); ++k) {
        weights[k] =
            s.scale * Dot(x.queries.data + x.queries.At(q, h), x.keys.data + x.keys.At(k, kh), s.size) +
            s.Bias(h, q, k);
        maximum = std::max(maximum, weights[k]);
      }
      double sum = 0;
      for (int64_t k = s.lo[q]; k < s.End(q); ++k) {
        weights[k] = std::exp(weights[k] - maximum);
        sum += weights[k];
      }
      Put(lse, q * s.query_heads + h, maximum + std::log(sum));
      std::fill_n(values, s.size, 0.0);
      for (int64_t k = s.lo[q]; k < s.End(q); ++k) {
        for (int64_t i = 0; i < s.size; ++i)
          values[i] += weights[k] * Get(x.values.data, x.values.At(k, kh) + i);
      }
      const double divisor = sum > 0 ? sum : 1;
      for (int64_t i = 0; i < s.size; ++i)
        Put(out, (q * s.query_heads + h) * s.size + i, values[i] / divisor);
    }
  }
}

// Where the gradients go.
template <typename Out>
struct PlainGradients {
  Heads<Out> queries, keys, values;
};

// The sums of one key head: dk and dv of all keys, and dq of one query.
struct GradSums {
  double* dk;
  double* dv;
  double* dq;
};

// Adds query q of head h to the sums, and writes its dq. Inputs 0, 2 and 3: dout, out, lse.
template <typename T, typename Out>
void AttentionGradOfQuery(const KernelArguments& a, const PlainShape& s, const PlainOperands<T>& x,
                          const Heads<Out>& dqueries, const GradSums& sums, int64_t q, int64_t h) {
  const int64_t at = (q * s.query_heads + h) * s.size;
  const T* dout = a.inputs[0].as<T>() + at;
  const double lse = Get(a.inputs[3].as<Wide<T>>(), q * s.query_heads + h);
  const int64_t kh = h / s.group();
  const double delta = Dot(dout, a.inputs[2].as<T>() + at, s.size);
  std::fill_n(sums.dq, s.size, 0.0);
  for (int64_t k = s.lo[q]; k < s.End(q); ++k) {
    const T* query = x.queries.data + x.queries.At(q, h);
    const T* key = x.keys.data + x.keys.At(k, kh);
    const double weight = std::exp(s.scale * Dot(query, key, s.size) + s.Bias(h, q, k) - lse);
    const double dscore = s.scale * weight * (Dot(dout, x.values.data + x.values.At(k, kh), s.size) - delta);
    for (int64_t i = 0; i < s.size; ++i) {
      sums.dq[i] += dscore * Get(key, i);
      sums.dk[k * s.size + i] += dscore * Get(query, i);
      sums.dv[k * s.size + i] += weight * Get(dout, i);
    }
  }
  for (int64_t i = 0; i < s.size; ++i) Put(dqueries.data, dqueries.At(q, h) + i, sums.dq[i]);
}

template <typename T, typename Out>
void AttentionGradOf(const KernelArguments& a, const PlainShape& s, const PlainOperands<T>& x,
                     const PlainGradients<Out>& d) {
  // A key head's gradients are one thread's: their sums are in the order of the queries whatever the threads.
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t kh = 0; kh < s.key_heads; ++kh) {
    const int64_t elements = s.keys * s.size;
    double* scratch = static_cast<double*>(a.workspace) + kh * (2 * elements + s.size);
    const GradSums sums = {scratch, scratch + elements, scratch + 2 * elements};
    std::fill_n(scratch, 2 * elements, 0.0);
    for (int64_t h = kh * s.group(); h < (kh + 1) * s.group(); ++h) {
      for (int64_t q = 0; q < s.tokens; ++q) AttentionGradOfQuery(a, s, x, d.queries, sums, q, h);
    }
    for (int64_t k = 0; k < s.keys; ++k) {
      for (int64_t i = 0; i < s.size; ++i) {
        Put(d.keys.data, d.keys.At(k, kh) + i, sums.dk[k * s.size + i]);
        Put(d.values.data, d.values.At(k, kh) + i, sums.dv[k * s.size + i]);
      }
    }
  }
}

int64_t ForwardBytes(const Op& op, const View& queries, const View& keys, int num_threads) {
  const PlainShape s(op, queries, keys);
  return num_threads * (s.keys + s.size) * static_cast<int64_t>(sizeof(double));
}

int64_t BackwardBytes(const Op& op, const View& queries, const View& keys) {
  const PlainShape s(op, queries, keys);
  return s.key_heads * (2 * s.keys + 1) * s.size * static_cast<int64_t>(sizeof(double));
}

}  // namespace

int64_t AttentionPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                     int num_threads) {
  return ForwardBytes(op, inputs[0], inputs[0], num_threads);
}

int64_t AttentionGradPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                         int) {
  return BackwardBytes(op, inputs[1], inputs[1]);
}

int64_t BlockAttentionPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs, absl::Span<const View>,
                                          int num_threads) {
  return ForwardBytes(op, inputs[0], inputs[1], num_threads);
}

int64_t BlockAttentionGradPlainWorkspaceBytes(const Op& op, absl::Span<const View> inputs,
                                              absl::Span<const View>, int) {
  return BackwardBytes(op, inputs[1], inputs[4]);
}

void AttentionPlain(const KernelArguments& a) {
  PlainShape s(a.op, a.inputs[0], a.inputs[0]);
  s.lo = a.inputs[1].as<int32_t>();
  TakeAlibi(a, 2, &s);
  ForFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    AttentionOf<T, T>(a, s, Packed<T>(a.inputs[0], s));
  });
}

void AttentionGradPlain(const KernelArguments& a) {
  PlainShape s(a.op, a.inputs[1], a.inputs[1]);
  s.lo = a.inputs[4].as<int32_t>();
  TakeAlibi(a, 5, &s);
  ForFloat(a.outputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    const Heads<T> d = HeadsOf<T>(a.outputs[0], s.size);
    AttentionGradOf<T, T>(a, s, Packed<T>(a.inputs[1], s),
                          {d, d.Behind(s.query_heads), d.Behind(s.query_heads + s.key_heads)});
  });
}

void BlockAttentionPlain(const KernelArguments& a) {
  PlainShape s(a.op, a.inputs[0], a.inputs[1]);
  s.lo = a.inputs[2].as<int32_t>();
  s.hi = a.inputs[3].as<int32_t>();
  TakeAlibi(a, 4, &s);
  ForFloat(a.inputs[0].dtype, [&](auto type) {
    using T = decltype(type);
    AttentionOf<T, Wide<T>>(a, s, Apart<T>(a.inputs[0], a.inputs[1], s));
  });
}

void BlockAttentionGradPlain(const KernelArguments& a) {
  PlainShape s(a.op, a.inputs[1], a.inputs[4]);
  s.lo = a.inputs[5].as<int32_t>();
  s.hi = a.inputs[6].as<int32_t>();
  TakeAlibi(a, 7, &s);
  ForFloat(a.inputs[1].dtype, [&](auto type) {
    using T = decltype(type);
    const Heads<Wide<T>> dkv = HeadsOf<Wide<T>>(a.outputs[1], s.size);
    AttentionGradOf<T, Wide<T>>(a, s, Apart<T>(a.inputs[1], a.inputs[4], s),
                                {HeadsOf<Wide<T>>(a.outputs[0], s.size), dkv, dkv.Behind(s.key_heads)});
  });
}

}  // namespace trireme
