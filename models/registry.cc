#include <glog/logging.h>

#include "models/bloom.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "models/mixtral.h"
#include "models/model.h"

namespace trireme {

std::unique_ptr<Model> CreateModel(const ModelConfig& config, uint64_t seed) {
  if (config.architecture() == "gpt2") return std::make_unique<Gpt2>(config, seed);
  if (config.architecture() == "llama") return std::make_unique<Llama>(config, seed);
  if (config.architecture() == "mixtral") return std::make_unique<Mixtral>(config, seed);
  if (config.architecture() == "bloom") return std::make_unique<Bloom>(config, seed);
  LOG(FATAL) << "architecture " << config.architecture() << " was validated but is not registered";
}

}  // namespace trireme
