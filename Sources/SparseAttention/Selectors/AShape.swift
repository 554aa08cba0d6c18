/// A-shape (StreamingLLM): the first `sink` keys and the `local` nearest, j < sink or i - j < local.
///
/// Needs no estimate. Source: upstream's streaming kernel, which counts the window in tokens, the
/// query's own key included. Upstream scales the scores of heads whose size is no power of two by
/// the padded size; here the model's own scale is always used.
public struct AShape: Selector {
  public var sink: Int
  public var local: Int

  public init(sink: Int, local: Int) {
    self.sink = sink
    self.local = local
  }

  public static let name = "a-shape"
  public static let budgets = [
    SelectorBudget.count("sink", standard: 128), .count("local", standard: 3968),
  ]

  public init(values: [Double]) { self.init(sink: Int(values[0]), local: Int(values[1])) }

  public var values: [Double] { [Double(sink), Double(local)] }
  public var needs: SketchNeeds { .nothing }
  public var alwaysComputed: Int { sink + local }

  public func select(_ sketch: HeadSketch) -> HeadSelection {
    HeadSelection(Self.selection(sink: sink, local: local, keys: sketch.keys))
  }

  public func deviceRequest(keys: Int) -> DeviceRequest { .selectedOnHost }

  /// For heads that look at what is near: no estimate, and hardly a pair.
  public static var searchCandidates: [AShape] {
    [AShape(sink: 128, local: 1024), AShape(sink: 128, local: 3968)]
  }

  public static func selection(sink: Int, local: Int, keys: Int) -> PairSelection {
    .bands(
      BandSelection(offsets: [0..<min(max(local, 1), keys)], columns: sinkColumns(sink, keys: keys))
    )
  }

  /// The columns 0 ..< sink, as far as there are keys.
  static func sinkColumns(_ sink: Int, keys: Int) -> [Int32] {
    (0..<Int32(min(max(sink, 0), keys))).map { $0 }
  }
}
