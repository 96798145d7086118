#include "launch/bench_kernels.h"

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/op_kind.h"
#include "runtime/op_table.h"

namespace trireme {
namespace {

// Shares of the copy in bf16 on one H200.
double GateOfMoving(const std::string& name) {
  const std::pair<OpKind, double> gates[] = {
      {OpKind::kEmbedding, 0.85},
      {OpKind::kEmbeddingGrad, 0.70},
      {OpKind::kRmsNorm, 0.88},
      {OpKind::kRmsNormGrad, 0.75},
      {OpKind::kLayerNorm, 0.88},
      {OpKind::kLayerNormGrad, 0.75},
      {OpKind::kAddRmsNorm, 0.88},
      {OpKind::kAddRmsNormGrad, 0.75},
      {OpKind::kAddLayerNorm, 0.88},
      {OpKind::kAddLayerNormGrad, 0.75},
      {OpKind::kRope, 0.85},
      {OpKind::kGelu, 0.90},
      {OpKind::kGeluGrad, 0.90},
      {OpKind::kSwiGlu, 0.90},
      {OpKind::kSwiGluGrad, 0.90},
      {OpKind::kAdamW, 0.90},
      {OpKind::kCrossEntropyGrad, 0.70},
      {OpKind::kSquaredNorm, 0.90},
  };
  for (const auto& [kind, gate] : gates) {
    if (name == Name(kind)) return gate;
  }
  return 0;
}

// Of the best product on one H200, 790 TFLOP/s, where attention and experts' products are to reach these
// TFLOP/s. A gradient's are
// counted as twice the forward's here.
double GateOfProduct(const std::string& name, int64_t head_size) {
  constexpr double kBest = 790;
  const bool backward = absl::EndsWith(name, "backward");
  if (absl::StrContains(name, "x 8192 ") && head_size == 128) return (backward ? 320 : 500) / kBest;
  if (absl::StrContains(name, "x 4096 ") && head_size == 64 && !backward) return 330 / kBest;
  if (absl::StrContains(name, " experts ")) return 520 / kBest;
  return 0;
}

}  // namespace

KernelSizes SizesFor(DType dtype, const Device& device) {
  if (device.is_host()) return {{.compute = dtype}, {{.compute = dtype}}};
  KernelSizes sizes;
  sizes.moving = {.compute = dtype,
                  .tokens = 16384,
                  .width = 4096,
                  .vocabulary = 50304,
                  .head_tokens = 4096,
                  .head_size = 128};
  sizes.products = {{.compute = dtype, .tokens = 16384, .sequence_lengths = {1024, 4096}},
                    {.compute = dtype,
                     .tokens = 8192,
                     .width = 2048,
                     .vocabulary = 32000,
                     .heads = 16,
                     .sequence_lengths = {2048, 8192}}};
  return sizes;
}

KernelReport ReportKernels(const KernelSizes& sizes, double peak_gflops, Device& device) {
  KernelReport report = {
      .device = device.description(), .dtype = Name(sizes.moving.compute), .peak_gflops = peak_gflops};
  for (const KernelTiming& timing : BenchmarkKernels(sizes.moving, device)) {
    if (report.copy_bytes_per_second == 0) report.copy_bytes_per_second = timing.bytes / timing.seconds;
    report.rows.push_back({timing.name, timing.seconds, Floor::kBytes, timing.bytes, timing.share_of_copy,
                           device.is_host() ? 0 : GateOfMoving(timing.name)});
  }
  for (const ProductBenchmark& products : sizes.products) {
    const int64_t head_size = products.width / products.heads;
    for (const ProductTiming& timing : BenchmarkProducts(products, peak_gflops, device)) {
      const bool attention = absl::StartsWith(timing.name, "attention");
      report.rows.push_back({attention ? absl::StrCat(timing.name, ", head ", head_size) : timing.name,
                             timing.seconds, Floor::kOperations, timing.gflops * timing.seconds * 1e9,
                             timing.share_of_peak,
                             device.is_host() ? 0 : GateOfProduct(timing.name, head_size)});
    }
  }
  return report;
}

std::string KernelReport::ToString() const {
  std::string text = absl::StrFormat(
      "%s, %s; ceilings of this run: copy %.1f GB/s (read and written), best product %.1f GFLOP/s\n"
      "  %-42s %10s %14s %9s %8s\n",
      device, dtype, copy_bytes_per_second / 1e9, peak_gflops, "kernel", "ms", "", "of floor", "gate");
  for (const KernelRow& row : rows) {
    const char* unit = row.floor == Floor::kBytes ? "GB/s" : "GFLOP/s";
    absl::StrAppendFormat(&text, "  %-42s %10.4f %9.1f %-7s %6.1f %% ", row.name, row.seconds * 1e3,
                          row.work / row.seconds / 1e9, unit, row.share * 100);
    text += row.gate == 0
                ? "\n"
                : absl::StrFormat("%5.1f %%%s\n", row.gate * 100, row.share >= row.gate ? "" : "  missed");
  }
  return text;
}

std::string KernelReport::ToJson() const {
  nlohmann::ordered_json json;
  json["device"] = device;
  json["dtype"] = dtype;
  json["copy_bytes_per_second"] = copy_bytes_per_second;
  json["peak_gflops"] = peak_gflops;
  json["kernels"] = nlohmann::ordered_json::array();
  for (const KernelRow& row : rows) {
    nlohmann::ordered_json entry = {{"name", row.name},
                                    {"seconds", row.seconds},
                                    {row.floor == Floor::kBytes ? "bytes" : "flops", row.work},
                                    {"share_of_floor", row.share}};
    if (row.gate > 0) entry["gate"] = row.gate;
    json["kernels"].push_back(entry);
  }
  return json.dump(2) + "\n";
}

}  // namespace trireme
