// The angles that rotary embedding turns by, kept as cosines and sines in double in the workspace. A token
// whose position follows the one before gets its angles from that one's by one turn more, which costs a few
// products instead of a sine; a range of kRows rows begins anew, so the error stays below 1e-13 and no angle
// depends on the number of threads.
#ifndef TRIREME_RUNTIME_CPU_ROPE_ANGLES_H_
#define TRIREME_RUNTIME_CPU_ROPE_ANGLES_H_

#include <cmath>
#include <cstdint>

#include "runtime/kernel.h"

namespace trireme {

struct RopeAngles {
  static constexpr int64_t kRows = 64;

  // The part of the workspace that belongs to the range that begins at row `begin`.
  RopeAngles(const KernelArguments& a, int64_t begin) : padded(Padded(a.op.attributes.Int("head_size"))) {
    frequency = static_cast<double*>(a.workspace);
    step_cosine = frequency + padded;
    step_sine = step_cosine + padded;
    // Cosine and sine, then both rounded in the space of one more.
    cosine = step_sine + padded + begin / kRows * 3 * padded;
    sine = cosine + padded;
    rounded_cosine = reinterpret_cast<float*>(sine + padded);
    rounded_sine = rounded_cosine + padded;
  }

  static int64_t WorkspaceBytes(int64_t rows, int64_t head_size) {
    const int64_t ranges = (rows + kRows - 1) / kRows;
    return (3 + 3 * ranges) * Padded(head_size) * static_cast<int64_t>(sizeof(double));
  }

  // Fills in what all ranges read: each pair's angle a position, and its turn.
  static void FillSteps(const KernelArguments& a) {
    const RopeAngles angles(a, 0);
    const auto size = static_cast<double>(a.op.attributes.Int("head_size"));
    const double theta = a.op.attributes.Float("theta");
    for (int64_t i = 0; i < angles.padded; ++i) {
      angles.frequency[i] = std::pow(theta, -2.0 * static_cast<double>(i) / size);
      angles.step_cosine[i] = std::cos(angles.frequency[i]);
      angles.step_sine[i] = std::sin(angles.frequency[i]);
    }
  }

  void SetPosition(int64_t position) const {
    for (int64_t i = 0; i < padded; ++i) {
      cosine[i] = std::cos(static_cast<double>(position) * frequency[i]);
      sine[i] = std::sin(static_cast<double>(position) * frequency[i]);
    }
  }

  int64_t padded;  // pairs of a head, and more that fill up the last vector
  double* frequency;
  double* step_cosine;
  double* step_sine;
  double* cosine;
  double* sine;
  float* rounded_cosine;
  float* rounded_sine;

 private:
  static int64_t Padded(int64_t head_size) {
    constexpr int64_t kLanes = 16;  // of the widest vector of floats
    return (head_size / 2 + kLanes - 1) / kLanes * kLanes;
  }
};

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_ROPE_ANGLES_H_
