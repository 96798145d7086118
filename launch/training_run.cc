#include "launch/training_run.h"

#include <glog/logging.h>
#include <google/protobuf/text_format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <optional>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "checkpoint/checksum.h"
#include "checkpoint/reader.h"
#include "checkpoint/run_directory.h"
#include "checkpoint/writer.h"
#include "configs/exit_codes.h"
#include "launch/checkpoint_state.h"
#include "launch/command.h"
#include "launch/gemm_choices.h"
#include "launch/learning_rate.h"
#include "launch/machine_peak.h"
#include "launch/rank_plan.h"
#include "launch/run_log.h"
#include "launch/run_place.h"
#include "launch/stop_signal.h"
#include "launch/trainer.h"
#include "launch/training_data.h"
#include "runtime/clock.h"
#include "runtime/cuda_backend.h"

namespace trireme {
namespace {

// After so many steps in a row without a finite gradient a run does not recover.
constexpr int kMostSkippedSteps = 20;

int64_t PeakRssBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

std::string ConfigText(const Config& config) {
  std::string text;
  google::protobuf::TextFormat::PrintToString(config, &text);
  return text;
}

class TrainingRun {
 public:
  TrainingRun(const Config& config, const TraceRequest& trace, const LaunchEnvironment& environment,
              const RunPlace& place, const std::function<void(int)>& abort)
      : config_(config),
        trace_request_(trace),
        mesh_(*place.mesh),
        device_mesh_(place.device_mesh != nullptr ? *place.device_mesh : *place.mesh),
        transport_(place.transport),
        abort_(abort),
        device_(*place.device),
        num_cores_(environment.num_cores),
        plan_(MakeRankPlan(config, mesh_.coordinate(), device_)),
        storage_(NewPosixStorage()) {}

  int Run(ResumeMode resume) {
    if (Agree(CheckTracePath()) != kExitFinished) return kExitConfig;
    if (const int code = Agree(Open()); code != kExitFinished) return code;
    if (IsFirst()) Announce();
    trainer_ = std::make_unique<Trainer>(plan_, mesh_, device_mesh_, device_);
    if (const int code = Agree(ChooseProducts()); code != kExitFinished) return code;
    if (const int code = Agree(Restore(resume)); code != kExitFinished) return code;
    if (Agree(OpenTrace()) != kExitFinished) return kExitConfig;
    if (const int code = Agree(OpenLog()); code != kExitFinished) return code;
    data_->Start(plan_.batch, state_.positions[0].samples);
    const int code = Loop();
    const int written = WriteTrace();
    return code != kExitFinished ? code : written;
  }

 private:
  bool IsFirst() const { return mesh_.world().rank() == 0; }

  int Agree(const absl::Status& status) { return AgreeOn(status, mesh_.world()); }

  absl::Status CheckTracePath() {
    if (trace_request_.path.empty() || !IsFirst()) return absl::OkStatus();
    return StepTrace::CheckPath(trace_request_);
  }

  absl::Status OpenTrace() {
    if (trace_request_.path.empty() || state_.step >= config_.train().steps()) return absl::OkStatus();
    absl::StatusOr<StepTrace> trace =
        StepTrace::Open(trace_request_, state_.step + 1, config_.train().steps(), plan_.step, device_, mesh_);
    if (!trace.ok()) return trace.status();
    trace_.emplace(*std::move(trace));
    return absl::OkStatus();
  }

  // Of the steps recorded so far. Collective.
  int WriteTrace() {
    if (!trace_.has_value()) return kExitFinished;
    const absl::StatusOr<bool> written = trace_->Write();
    if (IsFirst() && written.ok() && *written) {
      std::printf("timeline in %s; open it in https://ui.perfetto.dev\n", trace_request_.path.c_str());
      std::fflush(stdout);
    }
    return Agree(written.status());
  }

  absl::Status Open() {
    absl::StatusOr<TrainingData> data = TrainingData::Open(config_);
    if (!data.ok()) return data.status();
    data_.emplace(*std::move(data));
    return absl::OkStatus();
  }

  void Announce() {
    std::printf("%s\n%s", mesh_.ToString().c_str(), plan_.MemoryTable().c_str());
    std::printf("device: %s; %lld tokens a step; %.3f MFLOP a token\n", device_.description(),
                static_cast<long long>(plan_.batch.tokens()), plan_.flops_per_token / 1e6);
    if (!transport_.empty()) std::printf("GPUs are joined by %s\n", transport_.c_str());
    std::fflush(stdout);
  }

  // While the trainer's memory holds nothing yet: the products are timed where they stand.
  absl::Status ChooseProducts() {
    const std::string& asked = config_.train().gemm_choices();
    if (device_.is_host() || asked == "off") return absl::OkStatus();
    std::string path = asked;
    if (asked == "auto") {
      // What one mesh finds to be the fastest, another may not.
      if (config_.numerics().mesh_invariant_sum()) return absl::OkStatus();
      if (IsFirst()) MakeFolders();
      path = config_.run().directory() + "/gemm_choices.json";
    }
    std::vector<GemmUse> uses = trainer_->Gemms();
    // GELU in its product's kernel is taken of what is not rounded yet: where recompute does it again by
    // itself, or by another algorithm, the bits are others.
    if (config_.numerics().mesh_invariant_sum()) {
      std::erase_if(uses,
                    [](const GemmUse& use) { return use.problem.spec.epilogue != GemmEpilogue::kNone; });
    }
    GemmChoiceReport report;
    const absl::Status status =
        ChooseGemms(uses, path, mesh_.world(), OpenCudaGemmLibrary(device_).get(), &report);
    if (status.ok() && IsFirst()) {
      std::printf(
          "products: %lld timed, %lld found in %s; %lld of %lld epilogues in one kernel with theirs\n",
          static_cast<long long>(report.timed), static_cast<long long>(report.kept), path.c_str(),
          static_cast<long long>(report.in_one), static_cast<long long>(report.epilogues));
    }
    return status;
  }

  // The state at step 0, or that of the newest checkpoint.
  absl::Status Restore(ResumeMode resume) {
    state_.mesh = mesh_.ToString();
    state_.config = ConfigText(config_);
    state_.config_digest = Sha256Hex(state_.config);
    state_.tokenizer_digest = DigestHex(data_->source().vocabulary().tokenizer);
    state_.dataset_digest = DigestHex(data_->source().digest());
    state_.seed = static_cast<uint64_t>(config_.train().seed());
    state_.positions = {{config_.data().path(), 0}};
    std::optional<CommitRecord> newest;
    if (resume != ResumeMode::kNever) {
      absl::StatusOr<std::optional<CommitRecord>> found =
          FindLatestTogether(config_.run().directory(), mesh_.world(), *storage_);
      if (!found.ok()) return found.status();
      newest = *found;
    }
    if (newest.has_value()) return Load();
    if (resume == ResumeMode::kRequired) {
      return absl::NotFoundError(
          absl::StrCat(config_.run().directory(),
                       ": holds no complete checkpoint, and --resume=required; use --resume=auto to "
                       "start anew"));
    }
    trainer_->Initialize(state_.seed);
    NewRunId();
    return absl::OkStatus();
  }

  void NewRunId() {
    uint64_t id = 0;
    if (IsFirst()) id = (uint64_t{std::random_device()()} << 32) | std::random_device()();
    mesh_.world().Broadcast(&id, 1, DType::kI64, 0);
    state_.run_id = absl::StrFormat("%016x", id);
  }

  absl::Status Load() {
    absl::StatusOr<std::unique_ptr<CheckpointReader>> reader =
        CheckpointReader::Open(config_.run().directory(), *storage_);
    if (!reader.ok()) return reader.status();
    const CheckpointState& saved = (*reader)->state();
    if (saved.dataset_digest != state_.dataset_digest) {
      return absl::InvalidArgumentError(absl::StrCat(
          "data.path: ", config_.data().path(), ": holds other tokens than those that the run in ",
          config_.run().directory(), " was trained on; give the same data or another run.directory"));
    }
    const std::vector<TensorSlice> wanted = SlicesToLoad(trainer_->store());
    const absl::Status status = (*reader)->tensors().Load(wanted);
    if (!status.ok()) return status;
    *trainer_->store().OnHost(trainer_->store().updates()) = static_cast<double>(saved.applied_updates);
    state_.run_id = saved.run_id;
    state_.generation = saved.generation + 1;
    state_.step = saved.step;
    state_.tokens_seen = saved.tokens_seen;
    state_.applied_updates = saved.applied_updates;
    state_.skipped_steps = saved.skipped_steps;
    if (!saved.positions.empty()) state_.positions[0].samples = saved.positions[0].samples;
    restored_ = true;
    if (IsFirst()) {
      std::printf("resumed at step %lld from %s\n", static_cast<long long>(state_.step),
                  (*reader)->directory().c_str());
    }
    return absl::OkStatus();
  }

  absl::Status OpenLog() {
    // After all ranks have loaded: the gathering is collective.
    if (restored_) trainer_->GatherParameters();
    peak_gflops_ = MachinePeakGflops(config_, num_cores_, device_, mesh_.world());
    if (!IsFirst()) return absl::OkStatus();
    const absl::Status made = MakeRunDirectory();
    if (!made.ok()) return made;
    absl::StatusOr<RunLog> log = RunLog::Open(config_.run().directory(), config_.train().steps());
    if (!log.ok()) return log.status();
    log_.emplace(*std::move(log));
    return absl::OkStatus();
  }

  // run.directory and those above it; false where it cannot be made, and why in errno.
  bool MakeFolders() {
    const std::string& directory = config_.run().directory();
    for (size_t slash = directory.find('/', 1); slash != std::string::npos;
         slash = directory.find('/', slash + 1)) {
      mkdir(directory.substr(0, slash).c_str(), 0777);
    }
    return mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST;
  }

  absl::Status MakeRunDirectory() {
    const std::string& directory = config_.run().directory();
    if (!MakeFolders()) {
      return absl::UnavailableError(
          absl::StrCat("run.directory: ", directory, ": cannot be made: ", std::strerror(errno)));
    }
    std::FILE* file = std::fopen((directory + "/run.textproto").c_str(), "w");
    if (file == nullptr) {
      return absl::UnavailableError(
          absl::StrCat("run.directory: ", directory, ": cannot be written: ", std::strerror(errno)));
    }
    std::fprintf(file, "# run %s, generation %llu\n%s", state_.run_id.c_str(),
                 static_cast<unsigned long long>(state_.generation), state_.config.c_str());
    std::fclose(file);
    return absl::OkStatus();
  }

  int Loop() {
    const int64_t last = config_.train().steps(), interval = config_.checkpoint().interval();
    const int64_t evaluation_interval = config_.evaluation().interval();
    int64_t saved_step = restored_ ? state_.step : -1;
    bool stop = false;
    while (state_.step < last && !stop) {
      if (const int code = Step(); code != kExitFinished) return code;
      if (trace_.has_value() && trace_->is_complete()) {
        if (const int code = WriteTrace(); code != kExitFinished) return code;
      }
      stop = AnyoneStops();
      const bool is_last = state_.step == last;
      if (data_->has_validation() && !stop &&
          (is_last || (evaluation_interval > 0 && state_.step % evaluation_interval == 0))) {
        Evaluate();
      }
      if (is_last || stop || (interval > 0 && state_.step % interval == 0)) {
        if (const int code = Agree(SaveState()); code != kExitFinished) return code;
        saved_step = state_.step;
      }
    }
    if (saved_step != state_.step) {
      if (const int code = Agree(SaveState()); code != kExitFinished) return code;
    }
    if (state_.step < last) {
      if (IsFirst())
        std::printf("stopped on request at step %lld, saved\n", static_cast<long long>(state_.step));
      return kExitRequeue;
    }
    return kExitFinished;
  }

  int Step() {
    const int64_t step = state_.step + 1;
    const double begin = NowSeconds();
    const double learning_rate = LearningRate(config_, step);
    Timeline* const timeline = trace_.has_value() ? trace_->Begin(step) : nullptr;
    // The loader goes on by itself; what was read ahead of a stop is read again after it.
    const ReadSamples read = [this](int) { return OrAbort(data_->Next()); };
    const StepResult result =
        trainer_->Step(learning_rate, read, timeline, step < config_.train().steps() ? read : nullptr);
    if (timeline != nullptr) trace_->End(step);
    const double seconds = NowSeconds() - begin;
    state_.step = step;
    state_.tokens_seen += plan_.batch.tokens();
    state_.positions[0].samples += plan_.batch.global_batch;
    ++(result.applied ? state_.applied_updates : state_.skipped_steps);
    skipped_in_a_row_ = result.applied ? 0 : skipped_in_a_row_ + 1;
    if (IsFirst()) {
      const double rate = static_cast<double>(plan_.batch.tokens()) / seconds;
      Log(StepRecord{.step = step,
                     .tokens = state_.tokens_seen,
                     .loss = result.loss,
                     .z_loss = plan_.num_loss_terms > 1 ? std::optional(result.z_loss) : std::nullopt,
                     .dropped = DroppedOf(result),
                     .gradient_norm = result.gradient_norm,
                     .learning_rate = learning_rate,
                     .seconds = seconds,
                     .tokens_per_second = rate,
                     .peak_rss_bytes = PeakRssBytes(),
                     .mfu = rate * plan_.flops_per_token / (peak_gflops_ * 1e9)});
      if (!result.applied) {
        LOG(WARNING) << "step " << step << ": the gradient is not finite; the update was skipped";
      }
    }
    if (skipped_in_a_row_ < kMostSkippedSteps) return kExitFinished;
    if (IsFirst()) {
      std::fprintf(stderr,
                   "trireme: %d steps in a row had no finite gradient; lower optimizer.learning_rate\n",
                   skipped_in_a_row_);
    }
    return kExitNumerics;
  }

  std::optional<StepRecord::Dropped> DroppedOf(const StepResult& result) const {
    if (plan_.num_limited_choices == 0) return std::nullopt;
    return StepRecord::Dropped{result.dropped_choices, static_cast<double>(result.dropped_choices) /
                                                           static_cast<double>(plan_.num_limited_choices)};
  }

  template <typename Record>
  void Log(const Record& record) {
    const absl::Status status = log_->Add(record);
    if (status.ok()) return;
    PrintError(status);
    abort_(ExitCodeFor(status));
  }

  // In the middle of a step the others already wait for this rank's messages: the job ends.
  Samples OrAbort(const absl::StatusOr<Samples>& samples) {
    if (samples.ok()) return *samples;
    PrintError(samples.status());
    abort_(ExitCodeFor(samples.status()));
    return {};
  }

  bool AnyoneStops() {
    int32_t stop = StopRequested() ? 1 : 0;
    mesh_.world().AllReduce(&stop, &stop, 1, DType::kI32, ReduceOp::kMax);
    return stop != 0;
  }

  void Evaluate() {
    const BatchGeometry& batch = plan_.batch;
    int64_t samples = data_->num_validation_samples();
    if (config_.evaluation().batches() > 0) {
      samples = std::min(samples, config_.evaluation().batches() * batch.global_batch);
    }
    double sum = 0;
    for (int64_t n = 0; n * batch.global_batch < samples; ++n) {
      sum += trainer_->EvaluateSum([&](int m) { return OrAbort(data_->ReadValidation(batch, n, m)); });
    }
    if (!IsFirst()) return;
    const absl::StatusOr<int64_t> bytes = data_->ValidationBytes(samples);
    if (!bytes.ok()) {
      PrintError(bytes.status());
      abort_(ExitCodeFor(bytes.status()));
      return;
    }
    const int64_t tokens = samples * batch.sequence_length;
    Log(EvaluationRecord{.step = state_.step,
                         .loss = sum / static_cast<double>(tokens),
                         .bits_per_byte = sum / std::log(2.0) / static_cast<double>(*bytes),
                         .tokens = tokens});
  }

  absl::Status SaveState() {
    SaveRequest request = {.run_directory = config_.run().directory(),
                           .state = state_,
                           .aliases = Aliases(*plan_.model),
                           .keep = static_cast<int>(config_.checkpoint().keep())};
    trainer_->store().FetchToHost();
    absl::StatusOr<SaveReport> report =
        Save(request, SlicesToSave(trainer_->store()), mesh_.world(), *storage_);
    if (!report.ok()) return report.status();
    if (IsFirst()) {
      std::printf("saved step %lld in %s\n", static_cast<long long>(state_.step), report->directory.c_str());
      std::fflush(stdout);
    }
    return absl::OkStatus();
  }

  const Config& config_;
  const TraceRequest& trace_request_;
  Mesh& mesh_;
  Mesh& device_mesh_;
  const std::string& transport_;
  const std::function<void(int)>& abort_;
  Device& device_;
  const int num_cores_;
  RankPlan plan_;
  std::unique_ptr<Storage> storage_;
  std::optional<TrainingData> data_;
  std::unique_ptr<Trainer> trainer_;
  std::optional<RunLog> log_;
  std::optional<StepTrace> trace_;
  CheckpointState state_;
  bool restored_ = false;
  double peak_gflops_ = 0;
  int skipped_in_a_row_ = 0;
};

}  // namespace

int RunTraining(const Config& config, ResumeMode resume, const TraceRequest& trace,
                const LaunchEnvironment& environment, Communicator& world,
                const std::function<void(int exit_code)>& abort) {
  RunPlace place;
  if (const int code = OpenPlace(config, environment, world, &place); code != kExitFinished) return code;
  TrainingRun run(config, trace, environment, place, abort);
  return run.Run(resume);
}

}  // namespace trireme
