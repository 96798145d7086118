// The two JSON documents of the safetensors world. The JSON library stays behind this header.
#ifndef TRIREME_CHECKPOINT_SAFETENSORS_JSON_H_
#define TRIREME_CHECKPOINT_SAFETENSORS_JSON_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trireme {

// One tensor of a header, as it stands there.
struct SafetensorsJsonEntry {
  std::string name;
  std::string dtype_name;
  std::vector<uint64_t> shape;
  std::vector<uint64_t> data_offsets;
  int64_t json_offset = 0;  // bytes; near the end of the entry in the text
};

// Errors are InvalidArgument: "byte N: what was found"; N counts from the start of `json` plus `base_offset`.
// Both parsers keep no document tree: depth and memory are bounded by what they look for.
absl::StatusOr<std::vector<SafetensorsJsonEntry>> ParseSafetensorsJson(absl::string_view json,
                                                                       int64_t base_offset);

// "weight_map" of a model.safetensors.index.json: tensor name to file name. Other members are skipped.
absl::StatusOr<std::map<std::string, std::string>> ParseWeightMap(absl::string_view json);

}  // namespace trireme

#endif  // TRIREME_CHECKPOINT_SAFETENSORS_JSON_H_
