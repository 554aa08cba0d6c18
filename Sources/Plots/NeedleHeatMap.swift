public import EvaluationTasks
import TextReports

/// The heat map of a needle test: depth by length, a panel for each method.
public enum NeedleHeatMap {
  /// The picture of a needle run, as SVG. Every cell is the mean over its prompts; cells that were
  /// not run stay empty.
  public static func svg(_ records: [RunRecord], methods: [String]) -> String {
    let records = records.filter { $0.depth != nil && $0.length != nil }
    let lengths = Set(records.compactMap(\.length)).sorted()
    let depths = Set(records.compactMap(\.depth)).sorted()
    // A panel is wide enough for the longest name of a method and its mean.
    let cellWidth = max(
      28, 174 / Double(max(1, lengths.count)), min(54, 320 / Double(max(1, lengths.count))))
    let cellHeight = max(16, min(28, 300 / Double(max(1, depths.count))))
    let size = (width: cellWidth * Double(lengths.count), height: cellHeight * Double(depths.count))
    let columns = max(1, min(methods.count, Int(1100 / (size.width + 30))))
    let rows = (max(1, methods.count) + columns - 1) / columns
    let stride = (x: max(size.width, 150) + 30, y: size.height + 76)
    let left = 70.0
    let top = 44.0
    var document = SVGDocument(
      width: left + Double(columns) * stride.x + 84, height: top + Double(rows) * stride.y + 6,
      title: "Needle in a haystack: share of right answers by prompt length and needle depth")
    document.text(
      "Needle in a haystack: share of right answers", x: 16, y: 24, class: "ink title")
    for (number, method) in methods.enumerated() {
      let x = left + Double(number % columns) * stride.x
      let y = top + Double(number / columns) * stride.y
      let own = records.filter { $0.method == method }
      let mean = Bootstrap.average(own.map(\.score))
      document.group(x: x, y: y) { document in
        document.text(method, x: 0, y: 14)
        if !own.isEmpty {
          document.text(
            "mean \(Quantity.fixed(100 * mean, 1)) %", x: size.width, y: 14, anchor: .end,
            class: "muted small")
        }
        let scores = Dictionary(grouping: own) { Cell(length: $0.length, depth: $0.depth) }
        for (row, depth) in depths.enumerated() {
          for (column, length) in lengths.enumerated() {
            let values = scores[Cell(length: length, depth: depth), default: []].map(\.score)
            draw(
              values, in: &document, x: Double(column) * cellWidth,
              y: 22 + Double(row) * cellHeight, width: cellWidth, height: cellHeight)
          }
          if number % columns == 0, row % labelEvery(depths.count, cellHeight, 14) == 0 {
            document.text(
              "\(SVGDocument.number(100 * depth, digits: 1)) %", x: -8,
              y: 26 + (Double(row) + 0.5) * cellHeight, anchor: .end, class: "muted small")
          }
        }
        for (column, length) in lengths.enumerated()
        where column % labelEvery(lengths.count, cellWidth, 34) == 0 {
          document.text(
            AxisTicks.tokens(length), x: (Double(column) + 0.5) * cellWidth, y: 36 + size.height,
            anchor: .middle, class: "muted small")
        }
        document.text(
          "prompt length (tokens)", x: size.width / 2, y: 52 + size.height, anchor: .middle,
          class: "muted small")
        if number % columns == 0 {
          document.text(
            "needle depth", x: -50, y: 22 + size.height / 2, anchor: .middle, class: "muted small",
            turned: true)
        }
      }
    }
    ColorScale.drawBar(
      in: &document, x: left + Double(columns) * stride.x - 6, y: top + 22,
      height: max(90, size.height), label: "right answers",
      ticks: [0, 0.25, 0.5, 0.75, 1].map { ($0, "\(Int(100 * $0)) %") })
    return document.text
  }

  private struct Cell: Hashable {
    var length: Int?
    var depth: Double?
  }

  /// The stride at which labels are drawn, for `count` cells and labels of given sizes.
  private static func labelEvery(_ count: Int, _ cell: Double, _ label: Double) -> Int {
    max(1, Int((label / cell).rounded(.up)))
  }

  private static func draw(
    _ values: [Double], in document: inout SVGDocument, x: Double, y: Double, width: Double,
    height: Double
  ) {
    guard !values.isEmpty else {
      document.rectangle(
        x: x + 0.5, y: y + 0.5, width: width - 1, height: height - 1, class: "grid outline")
      return
    }
    let mean = Bootstrap.average(values)
    document.rectangle(
      x: x + 0.5, y: y + 0.5, width: width - 1, height: height - 1, fill: ColorScale.color(mean))
    // The number is in the cell as well, so that colour is not the only sign.
    document.text(
      "\(Int((100 * mean).rounded()))", x: x + width / 2, y: y + height / 2 + 3.5, anchor: .middle,
      class: "", fill: ColorScale.textColor(on: mean), size: 10)
  }
}
