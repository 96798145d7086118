#include "checkpoint/state.h"

#include "checkpoint/manifest.pb.h"

namespace trireme {

void StateToManifest(const CheckpointState& state, manifest::Manifest* manifest) {
  manifest->set_run_id(state.run_id);
  manifest->set_generation(state.generation);
  manifest->set_mesh(state.mesh);
  manifest::State* out = manifest->mutable_state();
  out->set_step(state.step);
  out->set_tokens_seen(state.tokens_seen);
  out->set_config(state.config);
  out->set_config_digest(state.config_digest);
  out->set_tokenizer_digest(state.tokenizer_digest);
  out->set_dataset_digest(state.dataset_digest);
  for (const SourcePosition& position : state.positions) {
    manifest::SourcePosition* p = out->add_positions();
    p->set_source(position.source);
    p->set_samples(position.samples);
  }
  out->set_applied_updates(state.applied_updates);
  out->set_skipped_steps(state.skipped_steps);
  out->set_seed(state.seed);
  for (const double loss : state.loss_window) out->add_loss_window(loss);
}

CheckpointState StateOfManifest(const manifest::Manifest& manifest) {
  const manifest::State& in = manifest.state();
  CheckpointState state;
  state.run_id = manifest.run_id();
  state.generation = manifest.generation();
  state.mesh = manifest.mesh();
  state.step = in.step();
  state.tokens_seen = in.tokens_seen();
  state.config = in.config();
  state.config_digest = in.config_digest();
  state.tokenizer_digest = in.tokenizer_digest();
  state.dataset_digest = in.dataset_digest();
  for (const manifest::SourcePosition& p : in.positions())
    state.positions.push_back({p.source(), p.samples()});
  state.applied_updates = in.applied_updates();
  state.skipped_steps = in.skipped_steps();
  state.seed = in.seed();
  state.loss_window.assign(in.loss_window().begin(), in.loss_window().end());
  return state;
}

}  // namespace trireme
