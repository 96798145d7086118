#include "launch/command.h"

#include <cstdio>

#include "configs/exit_codes.h"

namespace trireme {

int ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitFinished;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kFailedPrecondition:
      return kExitInput;
    case absl::StatusCode::kResourceExhausted:
      return kExitNoSpace;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kPermissionDenied:
      return kExitIo;
    default:
      return kExitInternal;
  }
}

void PrintError(const absl::Status& status) {
  const absl::string_view message = status.message();
  std::fprintf(stderr, "trireme: %.*s\n", static_cast<int>(message.size()), message.data());
}

}  // namespace trireme
