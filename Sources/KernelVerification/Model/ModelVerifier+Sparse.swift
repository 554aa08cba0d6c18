import TextReports
import MInference

/// Sparse prefill: by the checkpoint's patterns, and by patterns of every kind side by side.
extension ModelVerifier {
  func checkSparse() {
    let layers = device.layerCount
    let heads = device.attentionShape(layer: 0).queryHeads
    // Fewer rows than estimates are made from are never sparse.
    guard ids.count >= 64 else { return }
    let own =
      patterns
      ?? .uniform(.verticalSlash(vertical: 1000, slash: 6096), layers: layers, heads: heads)
    check(patterns == nil ? "sparse, default pattern" : "sparse, the model's patterns", own)
    let share = max(1, ids.count / 24)
    let bands: [HeadPattern] = [
      .verticalSlash(vertical: share, slash: share), .aShape(sink: share, local: 2 * share),
      .triShape(sink: share, local: share, last: share),
      .staticVerticalSlash(vertical: share, slash: share), .dense,
      .dilated(sink: share, window: 4 * share, stride: 2),
    ]
    let blocks: [HeadPattern] = [
      .blockSparse(topK: max(1, ids.count / 512)), .verticalSlash(vertical: share, slash: share),
      .blockSparse(topK: max(1, ids.count / 256)),
    ]
    check("sparse, columns and offsets", cycling(bands, layers, heads))
    check("sparse, with blocks", cycling(blocks, layers, heads))
  }

  /// Heads take their patterns in turn.
  private func cycling(
    _ patterns: [HeadPattern], _ layers: Int, _ heads: Int
  ) -> PatternConfiguration {
    PatternConfiguration(
      patterns: (0..<layers).map { layer in
        (0..<heads).map { patterns[(layer * heads + $0) % patterns.count] }
      })
  }

  private func check(_ name: String, _ configuration: PatternConfiguration) {
    var planner = AttentionPlanner(configuration: configuration, exact: ids.count < 4096)
    // The same pairs on either side.
    planner.freeBands = false
    var density = 1.0
    func logits(_ model: Transformer) throws -> [Float] {
      var all: [Float] = []
      density = try model.score(
        ids, cache: try Self.makeCache(model, ids.count), options: PrefillOptions(planner: planner)
      ) { all += $1 }.density
      return all
    }
    var tolerance = LogitTolerance.float32
    var sparse: [Float] = []
    do {
      sparse = try logits(reference)
      if let rounded {
        // Rounding also moves what is selected, here as there.
        tolerance = .rounding(.between(try logits(rounded), sparse, width: width))
      }
    } catch {
      let reason = error
      return check(name, .exact) { throw reason }
    }
    check(name, tolerance) {
      let values = try logits(device)
      return (values, sparse[...], "density \(Quantity.percent(density))")
    }
  }
}
