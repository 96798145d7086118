#include "launch/schedule_svg.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"

namespace trireme {
namespace {

// In pixels.
constexpr double kUnit = 22, kRow = 26, kBox = 22, kLeft = 70, kTop = 64, kMargin = 12, kDigit = 8;

// The boxes' colours are light enough for black numbers in either scheme.
constexpr const char* kStyle =
    "<style>\n"
    ".paper { fill: #ffffff } .ink { fill: #1b1b1b } .idle { fill: #ececec }\n"
    ".forward { fill: #7db7f0 } .backward { fill: #7fce8f } .weight { fill: #f2b25c }\n"
    ".odd { fill-opacity: 0.6 } .number { fill: #000000; text-anchor: middle }\n"
    "text { font: 13px sans-serif }\n"
    "@media (prefers-color-scheme: dark) {\n"
    "  .paper { fill: #16181d } .ink { fill: #e6e6e6 } .idle { fill: #2a2d34 } .odd { fill-opacity: 0.8 }\n"
    "}\n"
    "</style>\n";

const char* ClassOf(const Work& work) {
  switch (work.kind) {
    case Work::kForward:
      return "forward";
    case Work::kBackward:
    case Work::kBackwardInput:
      return "backward";
    case Work::kBackwardWeight:
      return "weight";
  }
  return "";
}

std::string Rectangle(const std::string& classes, double x, double y, double width, double height) {
  return absl::StrFormat("<rect class=\"%s\" x=\"%g\" y=\"%g\" width=\"%g\" height=\"%g\"", classes, x, y,
                         width, height);
}

std::string Text(const char* classes, double x, double y, const std::string& text) {
  return absl::StrFormat("<text class=\"%s\" x=\"%g\" y=\"%g\">%s</text>\n", classes, x, y,
                         absl::StrReplaceAll(text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}}));
}

std::string BoxOf(const TimedWork& timed, double y) {
  const double x = kLeft + timed.begin * kUnit, width = (timed.end - timed.begin) * kUnit - 1;
  const std::string classes = absl::StrCat(ClassOf(timed.work), timed.work.chunk % 2 == 1 ? " odd" : "");
  std::string box = absl::StrCat(Rectangle(classes, x, y, width, kBox), "><title>", ToString(timed.work),
                                 "</title></rect>\n");
  const std::string number = absl::StrCat(timed.work.micro_batch);
  if (static_cast<double>(number.size()) * kDigit <= width) {
    absl::StrAppend(&box, Text("number", x + width / 2, y + kBox - 6, number));
  }
  return box;
}

std::string Legend() {
  std::string legend;
  double x = kLeft;
  const struct {
    const char* classes;
    const char* text;
  } entries[] = {
      {"forward", "forward"}, {"backward", "backward"}, {"weight", "weights' part"}, {"idle", "idle"}};
  for (const auto& entry : entries) {
    absl::StrAppend(&legend, Rectangle(entry.classes, x, 36, 14, 14), "/>\n",
                    Text("ink", x + 20, 48, entry.text));
    x += 120;
  }
  return legend;
}

}  // namespace

std::string ScheduleSvg(const PipelineSimulation& simulation, const std::string& title) {
  const double span = simulation.makespan * kUnit;
  const double width =
      std::max(kLeft + span, std::max(560.0, kMargin + kDigit * static_cast<double>(title.size())));
  const double height = kTop + kRow * static_cast<double>(simulation.timeline.size());
  std::string svg = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\">\n",
      width + kMargin, height + kMargin, width + kMargin, height + kMargin);
  absl::StrAppend(&svg, kStyle, Rectangle("paper", 0, 0, width + kMargin, height + kMargin), "/>\n",
                  Text("ink", kMargin, 22, title), Legend());
  for (size_t stage = 0; stage < simulation.timeline.size(); ++stage) {
    const double y = kTop + kRow * static_cast<double>(stage);
    absl::StrAppend(&svg, Text("ink", kMargin, y + kBox - 6, absl::StrCat("stage ", stage)),
                    Rectangle("idle", kLeft, y, span, kBox), "/>\n");
    for (const TimedWork& timed : simulation.timeline[stage]) svg += BoxOf(timed, y);
  }
  return svg + "</svg>\n";
}

}  // namespace trireme
