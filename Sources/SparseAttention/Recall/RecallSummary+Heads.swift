extension RecallSummary {
  /// Of the heads that were measured, [layer][head]; nil if none was.
  package init?(of heads: [[HeadRecall?]]) {
    var count = 0
    var sum = 0.0
    var worst: (recall: HeadRecall, layer: Int, head: Int)?
    for layer in heads.indices {
      for head in heads[layer].indices {
        guard let recall = heads[layer][head] else { continue }
        sum += recall.mean
        count += 1
        if worst.map({ recall.mean < $0.recall.mean }) ?? true { worst = (recall, layer, head) }
      }
    }
    guard let worst else { return nil }
    self.init(
      mean: sum / Double(count), worst: worst.recall, worstLayer: worst.layer,
      worstHead: worst.head)
  }
}
