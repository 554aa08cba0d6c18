import TextReports

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Time against prompt length, both logarithmic, with the slope of every method.
public enum TimeCurves {
  /// One method's times.
  public struct Series: Sendable, Hashable {
    public var name: String
    public var points: [Point]

    public init(name: String, points: [Point]) {
      self.name = name
      self.points = points
    }

    /// The exponent p of the power law time = c * tokens^p that fits best (least squares of the
    /// logarithms); nil for fewer than two lengths.
    public var slope: Double? {
      let logs = valid.map { (x: log(Double($0.tokens)), y: log($0.seconds)) }
      guard let first = logs.first, logs.contains(where: { $0.x != first.x }) else { return nil }
      let mean = (
        x: logs.reduce(0) { $0 + $1.x } / Double(logs.count),
        y: logs.reduce(0) { $0 + $1.y } / Double(logs.count)
      )
      let products = logs.reduce(0) { $0 + ($1.x - mean.x) * ($1.y - mean.y) }
      return products / logs.reduce(0) { $0 + ($1.x - mean.x) * ($1.x - mean.x) }
    }

    var valid: [Point] {
      points.filter { $0.tokens > 0 && $0.seconds > 0 && $0.seconds.isFinite }
        .sorted { $0.tokens < $1.tokens }
    }
  }

  public struct Point: Sendable, Hashable {
    public var tokens: Int
    public var seconds: Double

    public init(tokens: Int, seconds: Double) {
      self.tokens = tokens
      self.seconds = seconds
    }
  }

  /// The picture as SVG.
  public static func svg(
    _ series: [Series], title: String = "Time to first token",
    yLabel: String = "time to first token (s)"
  ) -> String {
    let points = series.flatMap(\.valid)
    let lengths = Set(points.map(\.tokens)).sorted()
    let plot = (x: 66.0, y: 44.0, width: 470.0, height: 320.0)
    var document = SVGDocument(
      width: plot.x + plot.width + 210, height: plot.y + plot.height + 52, title: title)
    document.text(title, x: 16, y: 24, class: "ink title")
    guard let shortest = lengths.first, let longest = lengths.last,
      let least = points.map(\.seconds).min(), let most = points.map(\.seconds).max()
    else { return document.text }
    let xRange = Double(shortest) / 1.12...Double(longest) * 1.12
    let yRange = least / 1.4...most * 1.4
    func place(_ tokens: Double, _ seconds: Double) -> (x: Double, y: Double) {
      let right = log(tokens / xRange.lowerBound) / log(xRange.upperBound / xRange.lowerBound)
      let up = log(seconds / yRange.lowerBound) / log(yRange.upperBound / yRange.lowerBound)
      return (plot.x + plot.width * right, plot.y + plot.height * (1 - up))
    }
    for seconds in AxisTicks.logarithmic(yRange) {
      let y = place(xRange.lowerBound, seconds).y
      document.line((plot.x, y), (plot.x + plot.width, y), class: "grid")
      document.text(
        AxisTicks.decimal(seconds), x: plot.x - 8, y: y + 4, anchor: .end, class: "muted small")
    }
    var labelled = -Double.infinity
    for tokens in lengths {
      let x = place(Double(tokens), yRange.lowerBound).x
      document.line((x, plot.y), (x, plot.y + plot.height), class: "grid")
      guard x - labelled >= 34 else { continue }
      labelled = x
      document.text(
        AxisTicks.tokens(tokens), x: x, y: plot.y + plot.height + 16, anchor: .middle,
        class: "muted small")
    }
    document.rectangle(
      x: plot.x, y: plot.y, width: plot.width, height: plot.height, class: "axis")
    document.text(
      "prompt length (tokens)", x: plot.x + plot.width / 2, y: plot.y + plot.height + 38,
      anchor: .middle, class: "muted")
    document.text(
      yLabel, x: 20, y: plot.y + plot.height / 2, anchor: .middle, class: "muted", turned: true)
    for (number, one) in series.enumerated() where !one.valid.isEmpty {
      let look = number % PlotStyle.seriesCount
      let line = one.valid.map { place(Double($0.tokens), $0.seconds) }
      document.polyline(line, class: "line s\(look) d\(look)")
      document.path(
        line.map { PlotStyle.mark(look, x: $0.x, y: $0.y) }.joined(), class: "f\(look)")
    }
    drawLegend(series, x: plot.x + plot.width + 16, y: plot.y + 8, in: &document)
    return document.text
  }

  private static func drawLegend(
    _ series: [Series], x: Double, y: Double, in document: inout SVGDocument
  ) {
    // In the order of the curves at their right ends.
    let order = series.enumerated().filter { !$0.element.valid.isEmpty }.sorted {
      ($0.element.valid.last?.seconds ?? 0) > ($1.element.valid.last?.seconds ?? 0)
    }
    for (row, item) in order.enumerated() {
      let look = item.offset % PlotStyle.seriesCount
      let place = y + Double(row) * 36
      document.polyline([(x, place), (x + 28, place)], class: "line s\(look) d\(look)")
      document.path(PlotStyle.mark(look, x: x + 14, y: place), class: "f\(look)")
      document.text(item.element.name, x: x + 36, y: place + 4)
      if let slope = item.element.slope {
        document.text(
          "slope \(Quantity.fixed(slope, 2))", x: x + 36, y: place + 18, class: "muted small")
      }
    }
  }
}
