// Fields of a Config by their path, such as "model.hidden_size".
#ifndef TRIREME_CONFIGS_FIELDS_H_
#define TRIREME_CONFIGS_FIELDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "configs/config.pb.h"

namespace trireme {

// The field that a path names, as a chain from Config down. NOT_FOUND says which part is unknown and what
// would be valid in its place; INVALID_ARGUMENT when the path ends at a group of fields or goes on below a
// scalar.
absl::StatusOr<std::vector<const google::protobuf::FieldDescriptor*>> FindField(absl::string_view path);

// What is valid where `name` is not: the nearest field names, a group elsewhere that has the name, and all
// fields of `group`, which is reached by `group_path` ("" for Config itself).
std::string SuggestFields(const google::protobuf::Descriptor& group, absl::string_view group_path,
                          absl::string_view name);

// The path from Config to messages of this type, "" for Config itself.
std::string GroupPath(absl::string_view full_type_name);

// Sets one scalar from text. Strings are taken as they are. INVALID_ARGUMENT says what kind of value is
// wanted.
absl::Status SetField(Config* config, absl::string_view path, absl::string_view value);

// The paths of all scalars, in the order of their declaration.
std::vector<std::string> AllFields();

// Reading. An unknown path, or one of another kind, is a bug of the caller and aborts.
bool IsSet(const Config& config, absl::string_view path);
bool IsString(absl::string_view path);
int64_t IntegerAt(const Config& config, absl::string_view path);  // a bool reads as 0 or 1
double NumberAt(const Config& config, absl::string_view path);
std::string StringAt(const Config& config, absl::string_view path);
std::string TextAt(const Config& config, absl::string_view path);  // any kind, for messages

}  // namespace trireme

#endif  // TRIREME_CONFIGS_FIELDS_H_
