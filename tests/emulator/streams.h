// What streams are given, launches and copies: done at once, or later if a test asks for that, or kept in a
// graph while their stream captures.
#ifndef TRIREME_TESTS_EMULATOR_STREAMS_H_
#define TRIREME_TESTS_EMULATOR_STREAMS_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/emulator/fake_runtime.h"

namespace trireme::emulator {

// When streams do their work, for the streams made from then on by this thread.
//   kAtOnce      as it is enqueued
//   kWhenAsked   when the host waits for it, or a stream does that the host waits for: as late as can be
//   kOthersFirst the first stream of a thread as late as can be, the others as early as their events allow
// The last two give other results than the first where an event is missing.
enum class StreamMode { kAtOnce, kWhenAsked, kOthersFirst };
void SetStreamMode(StreamMode mode);

// One launch or copy with its arguments by value.
struct GraphNode {
  std::string name;
  std::string arguments;  // their bytes, the grid's too
  std::function<void()> run;

  bool SameWork(const GraphNode& other) const { return name == other.name && arguments == other.arguments; }
};

// Of the graph that this thread's capture has under way, or nullptr.
std::vector<GraphNode>* CapturedNodes();
// Of a graph that was captured.
const std::vector<GraphNode>& NodesOf(cudaGraph_t graph);

// What becomes of work for a stream. Work for another stream than the one that this thread captures is an
// error: on a GPU it would be no part of the graph.
enum class Fate { kNow, kLater, kInGraph };
Fate FateOf(cudaStream_t stream, const char* what);
void DoLater(cudaStream_t stream, std::function<void()> work);

// The bytes of `values`, one after the other; those between members are zero.
template <typename... Values>
std::string BytesOf(Values... values) {
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
  (__builtin_clear_padding(&values), ...);
#endif
#endif
  std::string bytes;
  // Of a pointer, the address.
  // NOLINTNEXTLINE(bugprone-sizeof-expression)
  (bytes.append(reinterpret_cast<const char*>(&values), sizeof(Values)), ...);
  return bytes;
}

// `work` reads nothing but what it holds and what `arguments` are the bytes of.
template <typename Work>
void Enqueue(cudaStream_t stream, const char* name, const std::string& arguments, Work work) {
  switch (FateOf(stream, name)) {
    case Fate::kNow:
      return work();
    case Fate::kLater:
      return DoLater(stream, std::move(work));
    case Fate::kInGraph:
      CapturedNodes()->push_back({name, arguments, std::move(work)});
  }
}

}  // namespace trireme::emulator

#endif  // TRIREME_TESTS_EMULATOR_STREAMS_H_
