#include "configs/fields.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "glog/logging.h"

namespace trireme {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using Chain = std::vector<const FieldDescriptor*>;

int EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<int> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    int diagonal = std::exchange(row[0], static_cast<int>(i) + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const int replace = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replace, row[j] + 1, diagonal + 1});
    }
  }
  return row[b.size()];
}

std::string Join(absl::string_view group_path, absl::string_view name) {
  return group_path.empty() ? std::string(name) : absl::StrCat(group_path, ".", name);
}

// The message that holds the chain's last field: a default instance where the group is unset.
const Message& Holder(const Config& config, const Chain& chain) {
  const Message* message = &config;
  for (size_t i = 0; i + 1 < chain.size(); ++i) {
    message = &message->GetReflection()->GetMessage(*message, chain[i]);
  }
  return *message;
}

Chain MustFind(absl::string_view path) {
  absl::StatusOr<Chain> chain = FindField(path);
  CHECK(chain.ok()) << path << ": " << chain.status();
  return *std::move(chain);
}

absl::Status SetScalar(Message* holder, const FieldDescriptor* field, absl::string_view value) {
  const Reflection* reflection = holder->GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      reflection->SetString(holder, field, std::string(value));
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_BOOL:
      if (value != "true" && value != "false") {
        return absl::InvalidArgumentError("not a truth value; use true or false");
      }
      reflection->SetBool(holder, field, value == "true");
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_INT64: {
      int64_t number;
      if (!absl::SimpleAtoi(value, &number)) {
        return absl::InvalidArgumentError("not a whole number of 64 bits; use digits only");
      }
      reflection->SetInt64(holder, field, number);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double number;
      if (!absl::SimpleAtod(value, &number)) {
        return absl::InvalidArgumentError("not a number; write it like 0.1 or 3e-4");
      }
      reflection->SetDouble(holder, field, number);
      return absl::OkStatus();
    }
    default:
      LOG(FATAL) << "config.proto: " << field->full_name() << " has a type without a rule here";
  }
}

}  // namespace

std::string SuggestFields(const Descriptor& group, absl::string_view group_path, absl::string_view name) {
  std::vector<std::string> names;
  std::vector<std::string> near;
  for (int i = 0; i < group.field_count(); ++i) {
    names.push_back(group.field(i)->name());
    const int distance = EditDistance(names.back(), name);
    if (distance <= std::max<int>(2, static_cast<int>(name.size()) / 3)) near.push_back(names.back());
  }
  std::stable_sort(near.begin(), near.end(), [&](const std::string& a, const std::string& b) {
    return EditDistance(a, name) < EditDistance(b, name);
  });
  if (near.size() > 3) near.resize(3);
  for (std::string& candidate : near) candidate = Join(group_path, candidate);
  for (const std::string& path : AllFields()) {
    const std::vector<std::string> parts = absl::StrSplit(path, '.');
    if (parts.back() == name) near.push_back(path);
  }
  return absl::StrCat(near.empty() ? "" : absl::StrCat("did you mean ", absl::StrJoin(near, " or "), "? "),
                      group_path.empty() ? "there are" : absl::StrCat(group_path, " has"), ": ",
                      absl::StrJoin(names, ", "));
}

std::string GroupPath(absl::string_view full_type_name) {
  const Descriptor* root = Config::descriptor();
  for (int i = 0; i < root->field_count(); ++i) {
    const Descriptor* type = root->field(i)->message_type();
    if (type != nullptr && type->full_name() == full_type_name) return root->field(i)->name();
  }
  return "";
}

absl::StatusOr<Chain> FindField(absl::string_view path) {
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  Chain chain;
  const Descriptor* group = Config::descriptor();
  std::string group_path;
  for (const std::string& name : names) {
    if (group == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("no such field; ", group_path, " has no fields of its own, set it directly"));
    }
    const FieldDescriptor* field = group->FindFieldByName(name);
    if (field == nullptr) {
      return absl::NotFoundError(absl::StrCat("no such field; ", SuggestFields(*group, group_path, name)));
    }
    chain.push_back(field);
    group = field->message_type();
    group_path = Join(group_path, name);
  }
  if (group != nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("a group of fields, which has no value; set one of them: ",
                                                   SuggestFields(*group, group_path, /*name=*/"")));
  }
  return chain;
}

absl::Status SetField(Config* config, absl::string_view path, absl::string_view value) {
  absl::StatusOr<Chain> chain = FindField(path);
  if (!chain.ok()) return chain.status();
  Message* holder = config;
  for (size_t i = 0; i + 1 < chain->size(); ++i) {
    holder = holder->GetReflection()->MutableMessage(holder, (*chain)[i]);
  }
  return SetScalar(holder, chain->back(), value);
}

std::vector<std::string> AllFields() {
  std::vector<std::string> paths;
  const Descriptor* root = Config::descriptor();
  for (int i = 0; i < root->field_count(); ++i) {
    const Descriptor* group = root->field(i)->message_type();
    CHECK(group != nullptr) << "config.proto: " << root->field(i)->name() << " is not a group";
    for (int j = 0; j < group->field_count(); ++j) {
      paths.push_back(absl::StrCat(root->field(i)->name(), ".", group->field(j)->name()));
    }
  }
  return paths;
}

bool IsSet(const Config& config, absl::string_view path) {
  const Chain chain = MustFind(path);
  const Message& holder = Holder(config, chain);
  return holder.GetReflection()->HasField(holder, chain.back());
}

bool IsString(absl::string_view path) {
  return MustFind(path).back()->cpp_type() == FieldDescriptor::CPPTYPE_STRING;
}

int64_t IntegerAt(const Config& config, absl::string_view path) {
  const Chain chain = MustFind(path);
  const Message& holder = Holder(config, chain);
  const Reflection* reflection = holder.GetReflection();
  if (chain.back()->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
    return reflection->GetBool(holder, chain.back()) ? 1 : 0;
  }
  return reflection->GetInt64(holder, chain.back());
}

double NumberAt(const Config& config, absl::string_view path) {
  const Chain chain = MustFind(path);
  const Message& holder = Holder(config, chain);
  return holder.GetReflection()->GetDouble(holder, chain.back());
}

std::string StringAt(const Config& config, absl::string_view path) {
  const Chain chain = MustFind(path);
  const Message& holder = Holder(config, chain);
  return holder.GetReflection()->GetString(holder, chain.back());
}

std::string TextAt(const Config& config, absl::string_view path) {
  switch (MustFind(path).back()->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return StringAt(config, path);
    case FieldDescriptor::CPPTYPE_BOOL:
      return IntegerAt(config, path) != 0 ? "true" : "false";
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat(NumberAt(config, path));
    default:
      return absl::StrCat(IntegerAt(config, path));
  }
}

}  // namespace trireme
