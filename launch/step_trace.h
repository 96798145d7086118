// `trireme train --trace`: a timeline of some steps of all ranks, in one file.
#ifndef TRIREME_LAUNCH_STEP_TRACE_H_
#define TRIREME_LAUNCH_STEP_TRACE_H_

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "parallel/mesh.h"
#include "runtime/device.h"
#include "runtime/timeline.h"

namespace trireme {

// What the command line asks for.
struct TraceRequest {
  std::string path;  // empty: no trace
  // Steps of the run, from 1, both included; 0: not said, and the third to the fifth that the process runs
  // (or the last ones, of a shorter run) are traced: the first ones allocate and warm up.
  int64_t first = 0;
  int64_t last = 0;
};

// Reads "3:5" or "3".
absl::StatusOr<TraceRequest> ReadTraceRequest(const std::string& path, const std::string& steps);

class StepTrace {
 public:
  // Whether a file can be made at the path; leaves nothing behind.
  static absl::Status CheckPath(const TraceRequest& request);

  // Collective over the mesh. The run will do steps `first_step` to `last_step`. Refuses steps outside of
  // these, and more events than a viewer can show: the file has at most kMostEvents of about 200 bytes.
  // `plan` and `device` must outlive the trace. The clocks are compared here.
  static absl::StatusOr<StepTrace> Open(const TraceRequest& request, int64_t first_step, int64_t last_step,
                                        const StepPlan& plan, Device& device, const Mesh& mesh);
  static constexpr int64_t kMostEvents = 4'000'000;

  // Of what to record a step in; nullptr for a step that is not traced.
  Timeline* Begin(int64_t step);
  void End(int64_t step);
  // Whether all that was asked for is recorded, and not yet written.
  bool is_complete() const { return recorded_until_ == request_.last && !written_; }

  // Collective over the mesh. Rank 0 writes what all ranks have recorded so far, if anything, and puts it in
  // place at once. Later calls write nothing. Returns whether there was something to write.
  absl::StatusOr<bool> Write();

 private:
  StepTrace(TraceRequest request, const StepPlan& plan, Device& device, const Mesh& mesh, double offset)
      : request_(std::move(request)),
        mesh_(&mesh),
        clock_offset_(offset),
        timeline_(plan, device, request_.last - request_.first + 1) {}

  TraceRequest request_;
  const Mesh* mesh_;
  double clock_offset_;  // this rank's clock minus rank 0's
  Timeline timeline_;
  int64_t recorded_until_ = 0;
  bool written_ = false;
};

}  // namespace trireme

#endif  // TRIREME_LAUNCH_STEP_TRACE_H_
