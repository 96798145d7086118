#include "launch/step_trace.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "launch/clock_offset.h"
#include "launch/timeline_json.h"

namespace trireme {
namespace {

// Of a message of text, so that a rank's text may be of any length.
constexpr int64_t kPieceBytes = 16 << 20;

std::string Partial(const std::string& path) {
  return path + ".partial";
}

absl::Status CannotBeWritten(const std::string& path, const char* why) {
  return absl::UnavailableError(
      absl::StrCat("--trace ", path, ": cannot be written (", why, "); give a file in a folder that exists"));
}

void SendText(Communicator& world, const std::string& text) {
  auto size = static_cast<int64_t>(text.size());
  world.Wait(world.StartSend(&size, 1, DType::kI64, 0));
  for (int64_t begin = 0; begin < size; begin += kPieceBytes) {
    world.Wait(world.StartSend(text.data() + begin, std::min(kPieceBytes, size - begin), DType::kU8, 0));
  }
}

std::string ReceiveText(Communicator& world, int peer) {
  int64_t size = 0;
  world.Wait(world.StartReceive(&size, 1, DType::kI64, peer));
  std::string text(size, ' ');
  for (int64_t begin = 0; begin < size; begin += kPieceBytes) {
    world.Wait(
        world.StartReceive(text.data() + begin, std::min(kPieceBytes, size - begin), DType::kU8, peer));
  }
  return text;
}

// All of them are read whatever happens: the others are sending.
absl::Status WriteAll(const std::string& path, const std::string& mine, Communicator& world) {
  const std::string partial = Partial(path);
  std::FILE* file = std::fopen(partial.c_str(), "w");
  bool whole = file != nullptr;
  int error = errno;
  const auto write = [&](const std::string& text) {
    if (!whole) return;
    whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
    error = errno;
  };
  write("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
  write(mine);
  for (int rank = 1; rank < world.size(); ++rank) write(",\n" + ReceiveText(world, rank));
  write("\n]}\n");
  if (file != nullptr && (std::fflush(file) != 0 || fsync(fileno(file)) != 0) && whole) {
    whole = false;
    error = errno;
  }
  if (file != nullptr) std::fclose(file);
  if (whole && std::rename(partial.c_str(), path.c_str()) == 0) return absl::OkStatus();
  if (whole) error = errno;
  std::remove(partial.c_str());
  return CannotBeWritten(path, std::strerror(error));
}

}  // namespace

absl::StatusOr<TraceRequest> ReadTraceRequest(const std::string& path, const std::string& steps) {
  TraceRequest request = {.path = path};
  if (steps.empty()) return request;
  const std::vector<std::string> parts = absl::StrSplit(steps, ':');
  if (parts.size() <= 2 && absl::SimpleAtoi(parts.front(), &request.first) &&
      absl::SimpleAtoi(parts.back(), &request.last) && request.first >= 1 && request.first <= request.last) {
    return request;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "--trace-steps ", steps, ": not a range of steps; give the first and the last, counted from 1: 3:5"));
}

absl::Status StepTrace::CheckPath(const TraceRequest& request) {
  struct stat found = {};
  if (stat(request.path.c_str(), &found) == 0 && !S_ISREG(found.st_mode)) {
    return CannotBeWritten(request.path, "it is not a file");
  }
  const std::string partial = Partial(request.path);
  std::FILE* file = std::fopen(partial.c_str(), "w");
  if (file == nullptr) return CannotBeWritten(request.path, std::strerror(errno));
  std::fclose(file);
  std::remove(partial.c_str());
  return absl::OkStatus();
}

absl::StatusOr<StepTrace> StepTrace::Open(const TraceRequest& request, int64_t first_step, int64_t last_step,
                                          const StepPlan& plan, Device& device, const Mesh& mesh) {
  TraceRequest asked = request;
  if (asked.first == 0) {
    asked.last = std::min(first_step + 4, last_step);
    asked.first = std::max(asked.last - 2, first_step);
  }
  if (asked.first < first_step || asked.last > last_step) {
    return absl::InvalidArgumentError(absl::StrCat("--trace-steps ", asked.first, ":", asked.last,
                                                   ": this run does steps ", first_step, " to ", last_step));
  }
  int64_t of_step = Timeline::EventsOfStep(plan);
  mesh.world().AllReduce(&of_step, &of_step, 1, DType::kI64, ReduceOp::kSum);
  const int64_t fitting = kMostEvents / of_step;
  if (asked.last - asked.first + 1 > fitting) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--trace-steps ", asked.first, ":", asked.last, ": a step of ", mesh.world().size(), " ranks has ",
        of_step, " events, and a file holds ", kMostEvents,
        fitting > 0 ? absl::StrCat("; trace at most ", fitting, " steps") : "; trace fewer ranks"));
  }
  const double offset = ClockOffset(mesh.world());
  return StepTrace(std::move(asked), plan, device, mesh, offset);
}

Timeline* StepTrace::Begin(int64_t step) {
  if (step < request_.first || step > request_.last) return nullptr;
  timeline_.BeginStep(step);
  return &timeline_;
}

void StepTrace::End(int64_t step) {
  timeline_.EndStep();
  recorded_until_ = step;
}

absl::StatusOr<bool> StepTrace::Write() {
  if (written_ || recorded_until_ == 0) return false;
  written_ = true;
  Communicator& world = mesh_->world();
  double origin = timeline_.events().front().begin_seconds;
  world.Broadcast(&origin, 1, DType::kF64, 0);
  const AxisSizes& sizes = mesh_->sizes();
  std::vector<std::string> coordinates;
  for (Axis axis : {Axis::kPp, Axis::kDp, Axis::kCp, Axis::kTp, Axis::kEp}) {
    if (sizes[axis] == 1) continue;
    coordinates.push_back(absl::StrCat(Name(axis), " ", CoordinateAlong(axis, mesh_->coordinate(), sizes)));
  }
  const std::string text =
      TimelineJson(timeline_, {.rank = world.rank(),
                               .name = coordinates.empty() ? "alone" : absl::StrJoin(coordinates, ", "),
                               .origin_seconds = origin + clock_offset_});
  if (world.rank() != 0) {
    SendText(world, text);
    return true;
  }
  const absl::Status status = WriteAll(request_.path, text, world);
  if (!status.ok()) return status;
  return true;
}

}  // namespace trireme
