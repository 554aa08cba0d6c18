import TextReports

/// The picture of one head: its attention, and the same with what its pattern leaves out veiled.
public struct AttentionPicture: Sendable {
  public var layer: Int
  public var head: Int
  public var image: AttentionImage
  /// nil: dense, one panel.
  public var computed: ComputedCells?
  /// "vertical-slash(1000, 6096)".
  public var pattern: String
  public var density: Double
  /// Mean over sampled rows; nil where it was not measured.
  public var recall: Double?
  /// Single columns and offsets that were chosen, as ticks above and below.
  public var columns: [Int]
  public var offsets: [Int]

  public init(
    layer: Int, head: Int, image: AttentionImage, computed: ComputedCells? = nil,
    pattern: String, density: Double, recall: Double? = nil, columns: [Int] = [],
    offsets: [Int] = []
  ) {
    self.layer = layer
    self.head = head
    self.image = image
    self.computed = computed
    self.pattern = pattern
    self.density = density
    self.recall = recall
    self.columns = columns
    self.offsets = offsets
  }

  private var caption: String {
    "\(pattern), density \(Quantity.percent(density))"
      + (recall.map { ", recall \(Quantity.fixed($0, 3))" } ?? "")
  }

  /// One head at full size.
  public var svg: String {
    let side = 384.0
    let left = 64.0
    let top = 78.0
    let panels = computed == nil ? 1 : 2
    let stride = side + 44
    var document = SVGDocument(
      width: left + Double(panels) * stride + 70, height: top + side + 58,
      title: "Attention of layer \(layer), head \(head): \(caption)")
    document.text(
      "Layer \(layer), head \(head), \(Quantity.grouped(image.keys)) tokens", x: 16, y: 24,
      class: "ink title")
    if panels == 2 {
      document.text(
        "veiled: left out by the pattern", x: left + stride, y: 24, class: "muted small")
    }
    let floor = AttentionCells.floor(keys: image.keys)
    for panel in 0..<panels {
      document.group(x: left + Double(panel) * stride, y: top) { document in
        document.text(panel == 0 ? "attention" : "computed by \(caption)", x: 0, y: -27)
        drawPanel(
          side: side, floor: floor, isVeiled: panel == 1, withLabels: panel == 0, in: &document)
        if panel == 1 { drawTicks(side: side, in: &document) }
      }
    }
    drawBar(
      x: left + Double(panels) * stride - 18, y: top + side * 0.2, height: side * 0.6, in: &document
    )
    return document.text
  }

  /// The image with its axes, from (0, 0).
  func drawPanel(
    side: Double, floor: Double, isVeiled: Bool, withLabels: Bool, in document: inout SVGDocument
  ) {
    let scale = side / Double(image.cells)
    document.group(x: 0, y: 0, scale: scale, extra: " shape-rendering=\"crispEdges\"") {
      AttentionCells.draw(image, floor: floor, in: &$0)
      if isVeiled, let computed { AttentionCells.drawVeil(computed, in: &$0) }
    }
    document.path("M0 0V\(SVGDocument.number(side))H\(SVGDocument.number(side))Z", class: "axis")
    drawAxes(side: side, withLabels: withLabels, in: &document)
  }

  /// The scale of colours, for prompts of the image's length.
  func drawBar(x: Double, y: Double, height: Double, in document: inout SVGDocument) {
    let lowest = -AttentionCells.floorExponent(keys: image.keys)
    ColorScale.drawBar(
      in: &document, x: x, y: y, height: height, label: "largest attention probability in the cell",
      ticks: (0...lowest).map { (Double($0) / Double(lowest), Self.power($0 - lowest)) })
  }

  /// 1, 0.1, 0.01, then powers of ten.
  private static func power(_ exponent: Int) -> String {
    switch exponent {
    case 0: "1"
    case -2 ... -1: "0." + String(repeating: "0", count: -exponent - 1) + "1"
    default: "1e\(exponent)"
    }
  }

  private func drawAxes(side: Double, withLabels: Bool, in document: inout SVGDocument) {
    for tick in AxisTicks.positions(upTo: image.keys) {
      let place = side * Double(tick) / Double(image.keys)
      document.line((place, side), (place, side + 4), class: "axis")
      document.text(
        AxisTicks.tokens(tick), x: place, y: side + 17, anchor: .middle, class: "muted small")
      guard withLabels else { continue }
      document.line((-4, place), (0, place), class: "axis")
      document.text(
        AxisTicks.tokens(tick), x: -8, y: place + 4, anchor: .end, class: "muted small")
    }
    document.text(
      "key position (token)", x: side / 2, y: side + 36, anchor: .middle, class: "muted small")
    if withLabels {
      document.text(
        "query position (token)", x: -48, y: side / 2, anchor: .middle, class: "muted small",
        turned: true)
    }
  }

  /// Chosen columns stand as ticks above the picture; chosen offsets on the diagonal's right, at the
  /// height at which the slash would meet the last row's end.
  private func drawTicks(side: Double, in document: inout SVGDocument) {
    let scale = side / Double(image.keys)
    // Ticks nearer than half a pixel are one.
    func places(_ positions: [Int]) -> [Double] {
      Set(positions.map { ((Double($0) + 0.5) * scale * 2).rounded() }).map { $0 / 2 }.sorted()
    }
    let n = { (value: Double) in SVGDocument.number(value) }
    if !columns.isEmpty {
      document.path(
        places(columns).map { "M\(n($0)) -9v7" }.joined(), class: "outline s2")
      document.text(
        "\(Quantity.grouped(columns.count)) columns", x: side, y: -12, anchor: .end,
        class: "muted small")
    }
    if !offsets.isEmpty {
      // An offset o ends in the last row at key keys - 1 - o.
      let ends = offsets.map { image.keys - 1 - $0 }
      document.path(
        places(ends).map { "M\(n($0)) \(n(side + 1.5))v5" }.joined(), class: "outline s1")
      document.text(
        "\(Quantity.grouped(offsets.count)) offsets", x: side, y: side + 36, anchor: .end,
        class: "muted small")
    }
  }
}
