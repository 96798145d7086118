#include "launch/gemm_choices.h"

#include <glog/logging.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace trireme {
namespace {

using Json = nlohmann::ordered_json;

struct Choice {
  std::string algorithm;  // in hexadecimal digits; empty: GemmCandidate
  double microseconds = 0;
};
// By the card and the library's version, and by product.
using ChoiceKey = std::pair<std::string, std::string>;
using Choices = std::map<ChoiceKey, Choice>;

absl::Status WrongFile(const std::string& path, const std::string& why) {
  return absl::InvalidArgumentError(
      absl::StrCat("train.gemm_choices: ", path, ": ", why, "; remove the file, or name another"));
}

std::string TextOf(const Choices& choices) {
  Json list = Json::array();
  for (const auto& [key, choice] : choices) {
    list.push_back({{"on", key.first},
                    {"product", key.second},
                    {"algorithm", choice.algorithm},
                    {"microseconds", choice.microseconds}});
  }
  return Json({{"choices", std::move(list)}}).dump(1);
}

// "" is an empty list. False where the text is none of ours.
bool Parse(const std::string& text, Choices* choices) {
  if (text.empty()) return true;
  const Json file = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!file.is_object() || !file.contains("choices") || !file["choices"].is_array()) return false;
  for (const Json& entry : file["choices"]) {
    for (const char* field : {"on", "product", "algorithm"}) {
      if (!entry.is_object() || !entry.contains(field) || !entry[field].is_string()) return false;
    }
    if (!entry.contains("microseconds") || !entry["microseconds"].is_number()) return false;
    const auto algorithm = entry["algorithm"].get<std::string>();
    const bool is_hex = std::all_of(algorithm.begin(), algorithm.end(), [](char c) {
      return absl::ascii_isxdigit(static_cast<unsigned char>(c));
    });
    if (algorithm.size() % 2 != 0 || !is_hex) return false;
    (*choices)[{entry["on"].get<std::string>(), entry["product"].get<std::string>()}] = {
        algorithm, entry["microseconds"].get<double>()};
  }
  return true;
}

absl::Status Read(const std::string& path, std::string* text) {
  struct stat found = {};
  if (stat(path.c_str(), &found) != 0 && errno == ENOENT) return absl::OkStatus();
  std::ifstream file(path);
  std::ostringstream whole;
  whole << file.rdbuf();
  if (!file) return WrongFile(path, absl::StrCat("cannot be read (", std::strerror(errno), ")"));
  *text = whole.str();
  Choices choices;
  if (!Parse(*text, &choices)) return WrongFile(path, "is no file of choices that this program wrote");
  return absl::OkStatus();
}

absl::Status Write(const std::string& path, const std::string& text) {
  const std::string partial = path + ".partial";
  std::FILE* const file = std::fopen(partial.c_str(), "w");
  bool whole = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if (file != nullptr) whole = std::fclose(file) == 0 && whole;
  if (whole && std::rename(partial.c_str(), path.c_str()) == 0) return absl::OkStatus();
  const int error = errno;
  std::remove(partial.c_str());
  return WrongFile(path, absl::StrCat("cannot be written (", std::strerror(error), ")"));
}

// Of every rank, in their order.
std::vector<std::string> GatherTexts(const std::string& mine, Communicator& world) {
  const auto size = static_cast<int64_t>(mine.size());
  std::vector<int64_t> sizes(world.size());
  world.AllGather(&size, sizes.data(), 1, DType::kI64);
  const int64_t longest = *std::max_element(sizes.begin(), sizes.end());
  std::string padded = mine;
  padded.resize(longest);
  std::string all(longest * world.size(), '\0');
  if (longest > 0) world.AllGather(padded.data(), all.data(), longest, DType::kU8);
  std::vector<std::string> texts;
  for (int rank = 0; rank < world.size(); ++rank) texts.push_back(all.substr(rank * longest, sizes[rank]));
  return texts;
}

// The fastest; of equals the one that the library likes better.
Choice Fastest(const GemmUse& use, const std::vector<GemmCandidate>& candidates) {
  const GemmCandidate* best = nullptr;
  for (const GemmCandidate& candidate : candidates) {
    CHECK(std::isfinite(candidate.seconds)) << "a time of " << candidate.seconds << " s";
    if (best == nullptr || candidate.seconds < best->seconds) best = &candidate;
  }
  CHECK(best != nullptr) << "no algorithm for " << use.problem.ToString();
  return {absl::BytesToHexString(best->algorithm), best->seconds * 1e6};
}

// Rank 0's word on whether all may go on.
absl::Status Agree(const absl::Status& of_first, Communicator& world) {
  std::string message(of_first.message());
  auto size = static_cast<int64_t>(of_first.ok() ? -1 : message.size());
  world.Broadcast(&size, 1, DType::kI64, 0);
  if (size < 0) return absl::OkStatus();
  message.resize(size);
  if (size > 0) world.Broadcast(message.data(), size, DType::kU8, 0);
  return absl::InvalidArgumentError(message);
}

}  // namespace

absl::Status ChooseGemms(const std::vector<GemmUse>& uses, const std::string& path, Communicator& world,
                         GemmLibrary* library, GemmChoiceReport* report) {
  const bool is_first = world.rank() == 0;
  std::string text;
  if (absl::Status status = Agree(is_first ? Read(path, &text) : absl::OkStatus(), world); !status.ok()) {
    return status;
  }
  Choices choices;
  CHECK(Parse(GatherTexts(text, world)[0], &choices));
  const auto in_file = static_cast<int64_t>(choices.size());

  // What each rank lacks, and what the ranks before it will time.
  const std::string on = library->version();
  std::map<std::string, const GemmUse*> mine;
  for (const GemmUse& use : uses) mine.emplace(use.problem.ToString(), &use);
  std::vector<std::string> lacking;
  for (const auto& [product, use] : mine) {
    if (choices.count({on, product}) == 0) lacking.push_back(absl::StrCat(on, "\t", product));
  }
  const std::vector<std::string> of_ranks = GatherTexts(absl::StrJoin(lacking, "\n"), world);
  std::vector<std::string> before;
  for (int rank = 0; rank < world.rank(); ++rank) {
    for (absl::string_view line : absl::StrSplit(of_ranks[rank], '\n', absl::SkipEmpty())) {
      before.emplace_back(line);
    }
  }
  Choices timed;
  for (const auto& [product, use] : mine) {
    if (choices.count({on, product}) > 0) continue;
    if (std::find(before.begin(), before.end(), absl::StrCat(on, "\t", product)) != before.end()) continue;
    timed[{on, product}] = Fastest(*use, library->Time(*use));
  }
  for (const std::string& of_rank : GatherTexts(timed.empty() ? "" : TextOf(timed), world)) {
    CHECK(Parse(of_rank, &choices));
  }
  *report = {.timed = static_cast<int64_t>(choices.size()) - in_file, .kept = in_file};
  const bool writes = is_first && report->timed > 0;
  if (absl::Status status = Agree(writes ? Write(path, TextOf(choices)) : absl::OkStatus(), world);
      !status.ok()) {
    return status;
  }
  for (const GemmUse& use : uses) {
    const std::string& algorithm = choices.at({on, use.problem.ToString()}).algorithm;
    library->Use(use.problem, absl::HexStringToBytes(algorithm));
    if (use.problem.spec.epilogue == GemmEpilogue::kNone) continue;
    ++report->epilogues;
    if (!algorithm.empty()) ++report->in_one;
  }
  return absl::OkStatus();
}

}  // namespace trireme
