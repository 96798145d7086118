#include <cstring>

#include "runtime/cpu/plain/plain.h"

namespace trireme {
namespace {

// The three groups of heads: of each, a rank's columns lie together on either side. Copies whole rows of
// them, whatever the dtype.
void CopyHeads(const KernelArguments& a, bool join) {
  const View& whole = join ? a.outputs[0] : a.inputs[0];
  const View& blocks = join ? a.inputs[0] : a.outputs[0];
  const int64_t parts = a.op.attributes.Int("parts"), rows = whole.shape.rows();
  const int64_t key_heads = a.op.attributes.Int("key_heads");
  const int64_t head_bytes = a.op.attributes.Int("head_size") * SizeOf(whole.dtype);
#pragma omp parallel for num_threads(a.num_threads)
  for (int64_t t = 0; t < rows; ++t) {
    char* from_group = whole.row(t);
    int64_t place = 0;
    for (const int64_t heads : {a.op.attributes.Int("query_heads"), key_heads, key_heads}) {
      const int64_t bytes = heads / parts * head_bytes;
      for (int64_t r = 0; r < parts; ++r) {
        char* in_whole = from_group + r * bytes;
        char* in_block = blocks.row(r * rows + t) + place;
        std::memcpy(join ? in_whole : in_block, join ? in_block : in_whole, bytes);
      }
      from_group += heads * head_bytes;
      place += bytes;
    }
  }
}

}  // namespace

void SplitHeadsPlain(const KernelArguments& a) {
  CopyHeads(a, false);
}

void JoinHeadsPlain(const KernelArguments& a) {
  CopyHeads(a, true);
}

}  // namespace trireme
