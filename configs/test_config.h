// A valid configuration for tests, whose fields can be replaced by any text, however wrong.
#ifndef TRIREME_CONFIGS_TEST_CONFIG_H_
#define TRIREME_CONFIGS_TEST_CONFIG_H_

#include <map>
#include <string>

namespace trireme {

// Field path -> the text of its value in textproto.
using FieldTexts = std::map<std::string, std::string>;

inline FieldTexts ValidFields() {
  return {{"model.architecture", "\"llama\""},
          {"model.hidden_size", "48"},
          {"model.intermediate_size", "120"},
          {"model.num_hidden_layers", "5"},
          {"model.num_attention_heads", "8"},
          {"model.num_key_value_heads", "4"},
          {"model.vocab_size", "257"},
          {"model.max_position_embeddings", "40"},
          {"train.steps", "20"},
          {"train.sequence_length", "24"},
          {"train.global_batch", "8"},
          {"optimizer.learning_rate", "5e-4"}};
}

// One group a line: "model { hidden_size: 48 ... }", in alphabetical order. An empty text leaves its field
// out.
inline std::string ToText(const FieldTexts& fields) {
  std::map<std::string, std::string> groups;
  for (const auto& [path, text] : fields) {
    const size_t dot = path.find('.');
    if (!text.empty()) groups[path.substr(0, dot)] += path.substr(dot + 1) + ": " + text + " ";
  }
  std::string result;
  for (const auto& [group, text] : groups) result += group + " { " + text + "}\n";
  return result;
}

// The valid configuration with some fields replaced or added.
inline std::string ValidTextWith(const FieldTexts& changes) {
  FieldTexts fields = ValidFields();
  for (const auto& [path, text] : changes) fields[path] = text;
  return ToText(fields);
}

}  // namespace trireme

#endif  // TRIREME_CONFIGS_TEST_CONFIG_H_
