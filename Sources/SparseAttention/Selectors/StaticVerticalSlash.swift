public import Compute

/// Static vertical-slash: the first estimate of a sequence serves all its later chunks.
///
/// The paper's ablation: it shows what is lost when the index does not follow the prompt. Columns
/// and offsets are those of the first chunk that was estimated; keys that came later are reached
/// only by offsets. Upstream keeps the estimate of the first prompt for all later prompts, since its
/// cache hangs on the module; here it belongs to the sequence (``SelectionMemory``). A first chunk
/// that needs no estimate because its budgets take everything keeps nothing.
public struct StaticVerticalSlash: Selector {
  public var vertical: Int
  public var slash: Int

  public init(vertical: Int, slash: Int) {
    self.vertical = vertical
    self.slash = slash
  }

  public static let name = "static"
  public static let budgets = VerticalSlash.budgets

  public init(values: [Double]) { self.init(vertical: Int(values[0]), slash: Int(values[1])) }

  public var values: [Double] { [Double(vertical), Double(slash)] }
  public var needs: SketchNeeds { SketchNeeds(lastRows: true) }

  public func needs(keys: Int, isKept: Bool) -> SketchNeeds {
    isKept
      || VerticalSlash.takesEverything(vertical: vertical, slash: slash, keys: keys, rule: .kept)
      ? .nothing : needs
  }

  public var alwaysComputed: Int {
    VerticalSlashRule.kept.alwaysComputed(vertical: vertical, slash: slash)
  }

  public func select(_ sketch: HeadSketch) -> HeadSelection {
    guard
      let selection = Self.selection(
        sketch.lastRowSums, vertical: vertical, slash: slash, layer: sketch.layer,
        head: sketch.head, memory: sketch.memory)
    else { return HeadSelection(.all, denseReason: .budgetTakesEverything) }
    return HeadSelection(.bands(selection))
  }

  /// A static head is estimated once, on the host; its selection is kept there.
  public func deviceRequest(keys: Int) -> DeviceRequest { .selectedOnHost }

  /// - Parameter sums: the chunk's sums, unless the memory holds a selection or the budgets take
  ///   everything.
  /// - Returns: nil if there are neither sums nor a selection: all pairs.
  public static func selection(
    _ sums: LastRowSums?, vertical: Int, slash: Int, layer: Int, head: Int,
    memory: SelectionMemory
  ) -> BandSelection? {
    if let kept = memory[layer, head] { return kept }
    let first = sums.map {
      VerticalSlash.selection($0, vertical: vertical, slash: slash, rule: .kept)
    }
    memory[layer, head] = first
    return first
  }
}
