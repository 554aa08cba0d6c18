import Files

extension HeadPattern {
  /// Whether upstream's layout can say this pattern: it knows no dense heads (which are written as
  /// vertical-slash over everything), and block-sparse heads always take the top 100.
  public var isKnownUpstream: Bool {
    switch selector {
    case is Dense, is AShape, is VerticalSlash: true
    case let blocks as BlockSparse: blocks.topK == 100
    default: false
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
    return switch selector {
    case is Dense: "\"vertical_and_slash\", \(contextLength), \(contextLength)"
    case let window as AShape: "\"stream_llm\", \(window.sink), \(window.local)"
    case let bands as VerticalSlash:
      "\"vertical_and_slash\", \(bands.vertical), \(bands.slash)"
    case let blocks as BlockSparse: "\"block_sparse\", \(blocks.topK), \(blocks.topK)"
    default: nil
    }
  }
}
