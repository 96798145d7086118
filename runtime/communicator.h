// What ranks do together. Abstract here, so that the runtime can execute communication without knowing what
// carries it; implemented in parallel/ over threads of one process and over MPI, for any set of mesh axes.
#ifndef TRIREME_RUNTIME_COMMUNICATOR_H_
#define TRIREME_RUNTIME_COMMUNICATOR_H_

#include <cstdint>
#include <memory>

#include "absl/types/span.h"
#include "runtime/dtype.h"

namespace trireme {

enum class ReduceOp { kSum, kMax };

// An ordered group of ranks, 0 <= rank() < size().
//
// Every operation is a Start and a Wait. From Start until Wait returns, its buffers belong to the
// communicator. All ranks start the same collectives on a communicator in the same order; sends to one peer
// arrive in the order they were started. Several operations may be under way at once, on one communicator and
// on several.
//
// Reductions add in rank order whatever the number of bytes: every rank gets the same bits, and so does every
// run. bf16 travels as bf16 and is added in fp32. A buffer may be given as both `in` and `out` where their
// sizes agree.
//
// A communicator of device memory (NCCL) orders instead of blocking: Start is behind all work enqueued on the
// compute stream so far, and after Wait the compute stream is behind the operation; the host goes on.
//
// One thread calls a communicator at a time. A failure of the transport ends the process: there is no state
// from which a training step could go on.
class Communicator {
 public:
  // Names one operation under way; 0 is an operation that is already complete.
  using Ticket = uint64_t;

  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  // The stream of the device that operations run on; on the host, where they need none, the compute stream.
  virtual int stream() const { return 0; }

  // out[i] = reduction of in[i] over all ranks; `count` elements. dtype f32, bf16, f64, i32 or i64.
  virtual Ticket StartAllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) = 0;

  // out = the `count` elements of rank 0, then those of rank 1, ... (size() * count elements).
  virtual Ticket StartAllGather(const void* in, void* out, int64_t count, DType dtype) = 0;

  // in = size() blocks of `count` elements; out = the sum over all ranks of block rank().
  virtual Ticket StartReduceScatter(const void* in, void* out, int64_t count, DType dtype) = 0;

  // in = size() blocks of `count` elements, block r goes to rank r; out = the blocks received, by sender.
  virtual Ticket StartAllToAll(const void* in, void* out, int64_t count, DType dtype) = 0;

  // Messages of any lengths among all ranks, to oneself too: the n-th piece that a rank sends to a peer is
  // the n-th that the peer receives from it, and as long. A rank may have none. What is sent is only read;
  // pieces that are received do not overlap with others.
  struct Piece {
    void* data = nullptr;
    int64_t count = 0;
    int peer = 0;
  };
  virtual Ticket StartExchange(absl::Span<const Piece> sends, absl::Span<const Piece> receives,
                               DType dtype) = 0;

  // `count` elements from `root` to everyone.
  virtual Ticket StartBroadcast(void* data, int64_t count, DType dtype, int root) = 0;

  // Point to point. A send need not complete before its receive was started.
  virtual Ticket StartSend(const void* data, int64_t count, DType dtype, int peer) = 0;
  virtual Ticket StartReceive(void* data, int64_t count, DType dtype, int peer) = 0;

  // Blocks until the operation is complete. Waiting twice on one ticket is a bug; ticket 0 returns at once.
  virtual void Wait(Ticket ticket) = 0;

  // Moves operations under way ahead without blocking; cheap when there are none. The executor calls it
  // between ops, because Open MPI makes no progress by itself.
  virtual void Progress() = 0;

  // Returns when every rank has called it.
  virtual void Barrier() = 0;

  // Collective over this communicator: the ranks that give the same colour form a new one, ordered by (key,
  // rank). A rank that gives a negative colour gets nullptr. The new communicator must not outlive this one.
  virtual std::unique_ptr<Communicator> Split(int color, int key) = 0;

  // The blocking forms.
  void AllReduce(const void* in, void* out, int64_t count, DType dtype, ReduceOp op) {
    Wait(StartAllReduce(in, out, count, dtype, op));
  }
  void AllGather(const void* in, void* out, int64_t count, DType dtype) {
    Wait(StartAllGather(in, out, count, dtype));
  }
  void Broadcast(void* data, int64_t count, DType dtype, int root) {
    Wait(StartBroadcast(data, count, dtype, root));
  }
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_COMMUNICATOR_H_
