import Compute
import Pipeline
import SparseAttention
import Testing
import Transformers

/// A walk through layers that are on several devices, beside one through those of one.
struct LayerWalkTests {
  /// What a visitor sees of every layer, and what is left behind the last one.
  private struct Seen: Equatable {
    var queries: [[Float]] = []
    var hidden: [[Float]] = []
    var keys: [[Float]] = []
    var logits: [Float] = []
    var states: [Float] = []
  }

  private func walk(_ model: Transformer, resumingAt resumed: Int? = nil) throws -> Seen {
    let ids = Mesh.ids(90)
    var seen = Seen()
    var walk = try LayerWalk(model, ids: ids, rowBlock: 32)
    while walk.layer < model.layerCount {
      if let resumed, walk.layer == resumed {
        let states = try walk.hiddenStates()
        walk = try LayerWalk(model, ids: ids, rowBlock: 32)
        try walk.resume(atLayer: resumed, hidden: states)
      }
      let backend = try model.part(holding: walk.layer).backend
      var (queries, hidden, keys): ([Float], [Float], [Float]) = ([], [], [])
      try walk.advance { block in
        queries += try backend.read(block.q)
        hidden += try backend.read(block.hidden)
        guard block.positions.upperBound == ids.count else { return }
        keys = try backend.read(block.keysAndValues.keys)
      }
      seen.queries.append(queries)
      seen.hidden.append(hidden)
      seen.keys.append(keys)
    }
    seen.logits = try walk.lastLogits()
    seen.states = try model.values(of: walk.sampledStates(at: [3, 40, 89]))
    return seen
  }

  @Test(
    "a walk sees what one device's walk sees, and may be resumed on any device",
    arguments: Mesh.Kind.allCases, [[0..<1, 1..<2, 2..<4], [0..<3, 3..<4]])
  func equality(kind: Mesh.Kind, stages: [Range<Int>]) throws {
    let mesh = try Mesh()
    let expected = try walk(mesh.whole(kind))
    #expect(expected.queries.count == 4 && expected.logits.allSatisfy(\.isFinite))
    let model = try mesh.pipeline(kind, stages).makeTransformer()
    #expect(try walk(model) == expected)
    for layer in [1, 3] { #expect(try walk(model, resumingAt: layer) == expected) }
  }
}
