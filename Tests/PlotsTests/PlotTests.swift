import EvaluationTasks
import Plots
import Testing

@Suite struct PlotTests {
  private func record(_ length: Int, _ depth: Double, _ method: String, right: Bool) -> RunRecord {
    let task = EvaluationTask(
      id: "needle-\(length)-\(depth)", kind: "needle", length: length, depth: depth, prompt: "",
      references: ["7"], scoring: .containsAll, maximumAnswerTokens: 1)
    return RunRecord(
      task, method: method, answer: PromptAnswer(text: right ? "7" : "", promptTokens: 1))
  }

  @Test func `a needle map has a cell for each length, depth and method, with its number`() {
    let records = [4096, 131_072].flatMap { length in
      [0, 0.5, 1].flatMap { depth in
        ["dense", "a<shape"].map { record(length, depth, $0, right: $0 == "dense" || depth == 1) }
      }
    }
    let svg = NeedleHeatMap.svg(records, methods: ["dense", "a<shape"])
    expectWellFormed(svg)
    #expect(svg.count(ofText: ">100</text>") == 8)
    #expect(svg.count(ofText: ">0</text>") == 4)
    for text in [
      ">4K<", ">128K<", "needle depth", "prompt length (tokens)", "a&lt;shape", "33.3 %",
    ] {
      #expect(svg.contains(text), "\(text)")
    }
  }

  @Test func `pictures of nothing or of one point are drawn`() {
    expectWellFormed(NeedleHeatMap.svg([], methods: ["dense"]))
    expectWellFormed(
      NeedleHeatMap.svg([record(100, 0.5, "dense", right: true)], methods: ["dense"]))
    expectWellFormed(TimeCurves.svg([]))
    expectWellFormed(
      TimeCurves.svg([
        TimeCurves.Series(name: "dense", points: [TimeCurves.Point(tokens: 4096, seconds: 0.5)]),
        TimeCurves.Series(name: "broken", points: [TimeCurves.Point(tokens: 0, seconds: -1)]),
      ]))
  }

  @Test func `the slope is the exponent of a power law`() throws {
    let series = TimeCurves.Series(
      name: "x",
      points: [1024, 4096, 32768, 131_072].map {
        TimeCurves.Point(tokens: $0, seconds: 3e-7 * Double($0) * Double($0).squareRoot())
      })
    #expect(abs(try #require(series.slope) - 1.5) < 1e-9)
    #expect(TimeCurves.Series(name: "x", points: [series.points[0]]).slope == nil)
    let svg = TimeCurves.svg([series])
    expectWellFormed(svg)
    #expect(svg.contains("slope 1.50"))
    #expect(svg.contains("time to first token (s)"))
  }

  @Test func `brighter is more, in grey too, and numbers stand out`() {
    func grey(_ color: String) -> Double {
      let number = Int(color.dropFirst(), radix: 16) ?? -1
      let (red, green, blue) = (number >> 16, number >> 8 & 255, number & 255)
      return 0.299 * Double(red) + 0.587 * Double(green) + 0.114 * Double(blue)
    }
    let values = (0...100).map { Double($0) / 100 }
    let greys = values.map { grey(ColorScale.color($0)) }
    #expect(zip(greys, greys.dropFirst()).allSatisfy { $0 < $1 })
    for value in values {
      let distance = abs(grey(ColorScale.color(value)) - grey(ColorScale.textColor(on: value)))
      #expect(distance > 100)
    }
    #expect(ColorScale.color(.nan) == ColorScale.color(0))
  }

  @Test func `axes have a few round ticks`() {
    #expect(AxisTicks.logarithmic(0.3...30) == [0.5, 1, 2, 5, 10, 20])
    #expect(AxisTicks.logarithmic(1...1e6) == [1, 10, 100, 1000, 1e4, 1e5, 1e6])
    #expect(AxisTicks.positions(upTo: 131_072).count == 9)
    #expect(AxisTicks.positions(upTo: 131_072)[1] == 16384)
    #expect(
      [512, 4096, 1 << 20, 1000, 1025].map(AxisTicks.tokens) == [
        "512", "4K", "1M", "1,000", "1,025",
      ])
  }
}

/// Whether tags close in order, attributes are quoted, and no number is missing.
func expectWellFormed(_ svg: String, sourceLocation: SourceLocation = #_sourceLocation) {
  var open: [Substring] = []
  var isBalanced = svg.hasPrefix("<svg ")
  for part in svg.split(separator: "<").dropFirst(0) {
    guard let end = part.firstIndex(of: ">") else {
      isBalanced = false
      break
    }
    let tag = part[..<end]
    if tag.count(where: { $0 == "\"" }) % 2 != 0 { isBalanced = false }
    let name = tag.split(separator: " ").first ?? ""
    if tag.hasPrefix("/") {
      isBalanced = isBalanced && open.popLast() == name.dropFirst()
    } else if !tag.hasSuffix("/") {
      open.append(name)
    }
  }
  #expect(isBalanced && open.isEmpty, sourceLocation: sourceLocation)
  #expect(!svg.contains("nan") && !svg.contains("inf"), sourceLocation: sourceLocation)
}

extension String {
  /// How often a text stands in this one.
  func count(ofText text: String) -> Int {
    let all = Array(utf8)
    let wanted = Array(text.utf8)
    guard all.count >= wanted.count else { return 0 }
    return (0...all.count - wanted.count).count { all[$0...].starts(with: wanted) }
  }
}
