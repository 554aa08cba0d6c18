import Files

extension HeadPattern {
  /// Whether upstream's layout can say this pattern: it knows no dense heads (which are written as
  /// vertical-slash over everything), and block-sparse heads always take the top 100.
  public var isKnownUpstream: Bool {
    switch self {
    case .dense, .aShape, .verticalSlash: true
    case .blockSparse(let topK): topK == 100
    case .triShape, .staticVerticalSlash, .dilated, .strided: false
    }
  }
}

extension PatternConfiguration {
  /// Writes upstream's layout: a list of layers, each an object from head number to
  /// `[pattern, a, b, score]`. Nothing but patterns and recall fits into it.
  ///
  /// A dense head becomes vertical-slash with `contextLength` columns and offsets, which every
  /// reader cuts to the prompt's length. The file is replaced as a whole or not at all.
  ///
  /// - Throws: ``PatternError/unwritable(file:reason:)``, also for a pattern that upstream lacks.
  public func writeUpstream(toFile file: String, contextLength: Int) throws {
    var layers: [String] = []
    for (layer, row) in patterns.enumerated() {
      var heads: [String] = []
      for (head, pattern) in row.enumerated() {
        guard let fields = pattern.upstreamFields(contextLength: contextLength) else {
          throw PatternError.unwritable(
            file: file,
            reason: "layer \(layer), head \(head): the published layout has no \(pattern.name) "
              + "like this; search a space without it or write our own layout")
        }
        let recall = measurements[layer][head]?.recall ?? 1
        heads.append("\"\(head)\": [\(fields), \(recall.isFinite ? recall : 0)]")
      }
      layers.append("{\(heads.joined(separator: ", "))}")
    }
    do {
      let text = "[\(layers.joined(separator: ", "))]\n"
      try FileReplacement.write(text, to: file)
    } catch {
      throw PatternError.unwritable(file: file, reason: error.reason)
    }
  }
}

extension HeadPattern {
  fileprivate func upstreamFields(contextLength: Int) -> String? {
    guard isKnownUpstream else { return nil }
    return switch self {
    case .dense: "\"vertical_and_slash\", \(contextLength), \(contextLength)"
    case .aShape(let sink, let local): "\"stream_llm\", \(sink), \(local)"
    case .verticalSlash(let vertical, let slash):
      "\"vertical_and_slash\", \(vertical), \(slash)"
    case .blockSparse(let topK): "\"block_sparse\", \(topK), \(topK)"
    case .triShape, .staticVerticalSlash, .dilated, .strided: nil
    }
  }
}
