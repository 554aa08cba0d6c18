/// What a progress line says about a prefill.
package struct ProgressText: Sendable {
  package var label: String
  /// Share of the work that is done, 0 ... 1.
  package var fraction: Double
  package var totalTokens: Int
  /// Seconds since the work began.
  package var elapsed: Double

  package init(label: String, fraction: Double, totalTokens: Int, elapsed: Double) {
    self.label = label
    self.fraction = min(1, max(0, fraction))
    self.totalTokens = totalTokens
    self.elapsed = elapsed
  }

  /// One line of at most `columns` characters: a bar if there is room, tokens, rate, time left.
  package func line(columns: Int) -> String {
    let tokens = Int((fraction * Double(totalTokens)).rounded(.down))
    var facts = "\(Quantity.grouped(tokens)) of \(Quantity.grouped(totalTokens)) tokens"
    if elapsed > 0.2, fraction > 0 {
      facts += "  \(Quantity.grouped(Int(Double(tokens) / elapsed))) tokens/s"
      facts += "  \(Quantity.seconds(elapsed * (1 - fraction) / fraction)) left"
    }
    let width = min(24, columns - facts.count - label.count - 6)
    guard width >= 4 else { return String("\(label)  \(facts)".prefix(max(0, columns))) }
    let filled = Int((fraction * Double(width)).rounded(.down))
    let bar = String(repeating: "#", count: filled) + String(repeating: "-", count: width - filled)
    return "\(label) [\(bar)]  \(facts)"
  }
}
