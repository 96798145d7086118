// From a textproto file and --set overrides to a complete, validated Config.
#ifndef TRIREME_CONFIGS_LOAD_H_
#define TRIREME_CONFIGS_LOAD_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "configs/config.pb.h"

namespace trireme {

// What training needs beyond what every configuration needs: for LoadConfig's `also_required`.
inline constexpr absl::string_view kTrainingRequires[] = {"data.path", "run.directory"};

// Reads `path`, applies `overrides` ("a.b=c", in order, so that the last one wins), fills in the defaults and
// validates. Every scalar that has a default is set in the result; the mesh and train.micro_batch wait for
// ResolveMesh.
//   overrides       strings are taken as they stand, without quotes
//   also_required   fields that must be set and not empty
// NOT_FOUND: no such file. INVALID_ARGUMENT: not a readable regular file; a syntax error or a value of the
// wrong type, alone, as "file:line:column: ..."; or all other errors together, one a line, as "field: value:
// what is wrong; remedy" (an unknown field in the file carries its file, line and column in front).
absl::StatusOr<Config> LoadConfig(const std::string& path, absl::Span<const std::string> overrides,
                                  absl::Span<const absl::string_view> also_required = {});

// The same for text in memory; `name` stands for the file in messages.
absl::StatusOr<Config> ParseConfig(const std::string& text, const std::string& name,
                                   absl::Span<const std::string> overrides,
                                   absl::Span<const absl::string_view> also_required = {});

}  // namespace trireme

#endif  // TRIREME_CONFIGS_LOAD_H_
