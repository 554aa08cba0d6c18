import JSON
package import MInference

extension ShapeBenchmark {
  /// The same over the processes of a group, of which this one is the first.
  ///
  /// - Throws: `ComputeError.unavailable` on a device that has no synthetic inputs; `PipelineError`.
  package init(
    shape: String, patterns: PatternConfiguration, setting: SyntheticAttention.Setting,
    group: ProcessGroup, member: LayerPipeline.Member, stageLayers: [Int]?
  ) throws {
    let checkpoint = try ModelShape.checkpoint(named: shape)
    let backend = try Self.synthetic(member)
    let pipeline = try LayerPipeline(
      group: group, shape: PipelineShape(checkpoint.configuration), member: member,
      stageLayers: stageLayers
    ) { try Transformer(shapeOf: checkpoint, backend: backend, seed: 1, part: $0) }
    try self.init(pipeline, patterns: patterns, setting: setting, backend: backend)
  }

  /// Serves process 0 with a part of a shape until process 0 ends.
  package static func serve(
    shape: String, as rank: ProcessRank, member: LayerPipeline.Member,
    onEnd: @escaping @Sendable () -> Void,
    onLoss: @escaping @Sendable (PipelineError) -> Void
  ) throws {
    let checkpoint = try ModelShape.checkpoint(named: shape)
    let backend = try synthetic(member)
    let server = try StageServer(rank, member: member, onEnd: onEnd, onLoss: onLoss)
    try server.serve(
      load: { try Transformer(shapeOf: checkpoint, backend: backend, seed: 1, part: $0) },
      injection: { try SyntheticRecipe(text: $0)?.make(for: $1, backend: backend) })
  }

  private static func synthetic(_ member: LayerPipeline.Member) throws -> any SyntheticBackend {
    guard let backend = member.backend as? any SyntheticBackend else {
      throw ComputeError.unavailable(
        what: "a model of random weights on \(member.name)", remedy: Remedy(use: .gpu))
    }
    return backend
  }
}

/// What a stage of another process makes synthetic queries and keys from.
struct SyntheticRecipe {
  var setting: SyntheticAttention.Setting
  var keys: Int
  var offsets: Int
  var columns: Int

  var text: String {
    JSONValue.object([
      ("setting", .string(setting.rawValue)), ("keys", .integer(keys)),
      ("offsets", .integer(offsets)), ("columns", .integer(columns)),
    ]).serialized()
  }

  init(setting: SyntheticAttention.Setting, keys: Int, offsets: Int, columns: Int) {
    self.setting = setting
    self.keys = keys
    self.offsets = offsets
    self.columns = columns
  }

  /// nil for a text of another kind.
  init?(text: String) {
    guard let json = try? JSONValue(parsing: Array(text.utf8)),
      let setting = json["setting"]?.text.flatMap(SyntheticAttention.Setting.init),
      let keys = json["keys"]?.int, let offsets = json["offsets"]?.int,
      let columns = json["columns"]?.int
    else { return nil }
    self.init(setting: setting, keys: keys, offsets: offsets, columns: columns)
  }

  func make(
    for model: Transformer, backend: any SyntheticBackend
  ) throws -> any QueryKeyInjection {
    try SyntheticInjection(
      setting, keys: keys, offsets: offsets, columns: columns, isChunked: true,
      shape: model.attentionShape(layer: 0), seed: 11, backend: backend)
  }
}
