// Copies of heads between a packed projection and blocks, one a rank (ops/head_exchange.h). Floor, x [T, C]
// of s bytes: 2 s T C bytes.
#include <glog/logging.h>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/launch.h"
#include "runtime/cuda/launchers.h"

namespace trireme {
namespace {

constexpr int kThreads = 256;

// A row of x, in pieces of some bytes: so many columns of queries, and of keys, and of values.
struct PackedRow {
  int64_t rows;
  int parts;
  int queries;
  int keys;

  GPU_FN int pieces() const { return queries + 2 * keys; }
  // Where piece `column` of row t lies in the blocks.
  GPU_FN int64_t InBlocks(int64_t t, int column) const {
    int group = 0, width = queries;
    if (column >= queries) {
      group = column >= queries + keys ? queries + keys : queries;
      width = keys;
    }
    const int of_part = width / parts, in_group = column - group;
    const int part = in_group / of_part;
    return (part * rows + t) * (pieces() / parts) + group / parts + in_group - part * of_part;
  }
};

// One thread a piece.
template <bool kJoin, typename P>
GPU_KERNEL(kThreads)
CopyHeadsKernel(PackedRow row, const P* from, P* to) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int pieces = row.pieces();
  const int64_t t = i / pieces;
  if (t >= row.rows) return;
  const int64_t in_blocks = row.InBlocks(t, static_cast<int>(i - t * pieces));
  if constexpr (kJoin) {
    to[i] = from[in_blocks];
  } else {
    to[in_blocks] = from[i];
  }
}

template <bool kJoin, typename P>
void LaunchCopyHeads(const KernelArguments& a, int64_t head_bytes) {
  const View& whole = kJoin ? a.outputs[0] : a.inputs[0];
  const auto head_pieces = static_cast<int>(head_bytes / static_cast<int64_t>(sizeof(P)));
  const PackedRow row = {whole.shape.rows(), static_cast<int>(a.op.attributes.Int("parts")),
                         static_cast<int>(a.op.attributes.Int("query_heads")) * head_pieces,
                         static_cast<int>(a.op.attributes.Int("key_heads")) * head_pieces};
  const int64_t pieces = row.rows * (row.queries + 2 * row.keys);
  GPU_LAUNCH((CopyHeadsKernel<kJoin, P>), GridOf(CeilDiv<int64_t>(pieces, kThreads)), kThreads, 0, a.stream,
             row, a.inputs[0].as<const P>(), a.outputs[0].as<P>());
}

template <bool kJoin>
void CopyHeads(const KernelArguments& a) {
  const int64_t head_bytes = a.op.attributes.Int("head_size") * SizeOf(a.inputs[0].dtype);
  const auto fits = [&](int64_t bytes) {
    return head_bytes % bytes == 0 && reinterpret_cast<uintptr_t>(a.inputs[0].data) % bytes == 0 &&
           reinterpret_cast<uintptr_t>(a.outputs[0].data) % bytes == 0;
  };
  if (fits(sizeof(uint4))) {
    LaunchCopyHeads<kJoin, uint4>(a, head_bytes);
  } else if (fits(sizeof(uint32_t))) {
    LaunchCopyHeads<kJoin, uint32_t>(a, head_bytes);
  } else {
    CHECK(fits(sizeof(uint16_t))) << Name(a.inputs[0].dtype);
    LaunchCopyHeads<kJoin, uint16_t>(a, head_bytes);
  }
}

}  // namespace

void SplitHeadsCuda(const KernelArguments& a) {
  CopyHeads<false>(a);
}

void JoinHeadsCuda(const KernelArguments& a) {
  CopyHeads<true>(a);
}

}  // namespace trireme
